# SPDX-License-Identifier: Apache-2.0
# C types for _asgi_connection.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._asgi_task cimport Runner
from hornbeam_erlang._hub cimport Hub
from hornbeam_erlang._outbox cimport Outbox
from hornbeam_erlang._session cimport Session


cdef class Connection:
    cdef public Hub hub
    cdef public Session session
    cdef public object loop
    cdef public Runner runner
    cdef public dict cycles
    cdef public object starting
    cdef public dict handlers
    cdef public object drained
    cdef public bint is_draining
    cdef object _thread
    cdef object _transport
    cdef object _fail
    cdef int _write_fd
    cdef bint _in_turn
    cdef bint _turn_is_due
    cdef bint _flush_is_due
    cdef object _overdue

    @cython.locals(hub=Hub, outbox=Outbox, handlers=dict)
    cpdef _turn(self)
    cpdef send(self, tuple message, Py_ssize_t size=*)
    cpdef send_response(self, tuple message)
    cpdef flush_soon(self)
    cpdef bint ended(self, cycle) except -1
