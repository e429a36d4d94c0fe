# SPDX-License-Identifier: Apache-2.0
# C types for _asgi_task.py, which is compiled with them and runs without.

cdef class Runner:
    cdef public object loop
    cdef public set waiting
    cdef object _call_soon
    cdef public object _context
    cdef object _step

    cpdef run(self, task, context)
    cpdef _go_on(self, task)
    cpdef make_real(self, task)


cdef class _Rest:
    cdef Runner _runner
    cdef object _task

    cpdef _live(self)
    cpdef send(self, value)
    cpdef _end(self, task)
