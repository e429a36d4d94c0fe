# SPDX-License-Identifier: Apache-2.0
# C types for _leader.py, which is compiled with them and runs without.

cdef class Waiter:
    cdef public object lock
    cdef public bint busy


cdef class Leadership:
    cdef public object mutex
    cdef public dict idle
    cdef public dict blocked
    cdef public object poll_seconds
    cdef public object owner
    cdef public object work
    cdef Waiter _owner_waiter
    cdef object _reader
    cdef object _handle
    cdef bint _leading
    cdef object _spin

    cpdef bint wait(self, Waiter waiter, dict sleepers, ready, deadline) except -1
    cpdef bint read_ready(self) except -1
    cpdef rebalance(self)
    cpdef wake(self, Waiter waiter)
    cpdef resign(self)
    cpdef bint try_to_lead(self) except -1
    cpdef bint read_by(self, deadline, bint may_spin) except -1
