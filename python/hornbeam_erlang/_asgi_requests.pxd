# SPDX-License-Identifier: Apache-2.0
# C types for _asgi_requests.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._asgi_connection cimport Connection
from hornbeam_erlang._asgi_scope cimport ScopeMaker
from hornbeam_erlang._flow cimport Window
from hornbeam_erlang._hub cimport Hub
from hornbeam_erlang._session cimport Session


cdef class Requests:
    cdef public ScopeMaker scopes
    cdef Connection _connection
    cdef Hub _hub
    cdef Session _session
    cdef object _application
    cdef object _base

    @cython.locals(session=Session, flow=Window)
    cpdef bint _may_start(self, ident) except -1
    @cython.locals(connection=Connection)
    cpdef _run(self, cycle, dict scope, ident)
