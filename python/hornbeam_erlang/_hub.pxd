# SPDX-License-Identifier: Apache-2.0
# C types for _hub.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._hub_calls cimport CallHub
from hornbeam_erlang._leader cimport Leadership, Waiter
from hornbeam_erlang._session cimport Session

cdef Py_ssize_t LIMIT_CELL
cdef Py_ssize_t STARTED_CELL


cdef class Hub(CallHub):
    cdef object __weakref__
    cdef public dict origins
    cdef public tuple boot
    cdef public Py_ssize_t taken
    cdef public bint drained
    cdef public dict endings
    cdef public object is_running
    cdef public object flush_soon
    cdef public dict deliver
    cdef bint _shared_ledger
    cdef object _announced
    cdef unsigned long long[:] _cells
    cdef object _fail
    cdef object _splitter

    @cython.locals(message=tuple)
    cpdef tuple take(self, Waiter waiter)
    @cython.locals(message=tuple, threads=Leadership)
    cpdef tuple _pop(self, Waiter waiter)
    @cython.locals(limit=cython.ulonglong)
    cpdef bint _start(self, ident) except -1
    cpdef bint begin(self, ident) except -1
    @cython.locals(threads=Leadership)
    cpdef lead_until(self, ready, deadline)
    cpdef flush_all(self)
    cpdef _receive(self, bytes data)
    @cython.locals(message=tuple, session=Session, deliver=dict)
    cpdef _dispatch(self, list messages)
