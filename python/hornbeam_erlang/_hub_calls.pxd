# SPDX-License-Identifier: Apache-2.0
# C types for _hub_calls.py, which is compiled with them and runs without.

from hornbeam_erlang._leader cimport Leadership
from hornbeam_erlang._outbox cimport Outbox
from hornbeam_erlang._session cimport Session


cdef class CallHub:
    cdef public Session session
    cdef public Outbox outbox
    cdef public object work
    cdef public dict calls
    cdef public dict deadlines
    cdef public Leadership threads
    cdef public object mutex
    cdef public object awaited
    cdef public Py_ssize_t busy
    cdef public Py_ssize_t thread_count
    cdef public dict producers
    cdef public object ring
    cdef public list helpers
    cdef public object abandoned
    cdef public object on_hook
    cdef public object on_ready
    cdef public bint is_lost

    cpdef send(self, tuple message, Py_ssize_t size=*)
    cpdef flush(self)
