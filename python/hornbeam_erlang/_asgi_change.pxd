# SPDX-License-Identifier: Apache-2.0
# C types for _asgi_change.py, which is compiled with them and runs without.

cdef class Change:
    cdef public bint _asyncio_future_blocking
    cdef object _loop
    cdef object _callback
    cdef object _context
    cdef bint _is_done
    cdef object _why

    cpdef happen(self)
    cpdef happen_at_once(self, task)
    cpdef result(self)
