# SPDX-License-Identifier: Apache-2.0
# C types for _session.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._flow cimport Flow, SocketFlow, Window
from hornbeam_erlang._session_calls cimport CallSession


cdef class Session(CallSession):
    cdef public str phase
    cdef public object version
    cdef public Py_ssize_t response_window
    cdef public Py_ssize_t request_window
    cdef public dict exchanges
    cdef public dict flows
    cdef public dict sockets
    cdef bint _greeted
    cdef dict _receivers
    cdef dict _current
    cdef dict _senders

    cpdef bint receive(self, tuple message) except -1
    cpdef _new_exchange(self, tuple message, str state)
    cpdef bint _open(self, tuple message) except -1
    cpdef bint _is_open(self, tuple message) except -1
    cpdef Flow flow(self, ident)
    cpdef Window _window(self, ident)
    cpdef SocketFlow _socket(self, tuple message)
    @cython.locals(flow=SocketFlow)
    cpdef bint _socket_message(self, tuple message) except -1
    @cython.locals(flow=Window)
    cpdef bint _credit(self, tuple message) except -1
    cpdef send(self, tuple message)
    cpdef _advance(self, code, ident)
    cpdef start(self, ident)
    cpdef send_response(self, tuple message)
    @cython.locals(flow=Window, data=bytes)
    cpdef _send_data(self, tuple message)
    @cython.locals(flow=SocketFlow, data=bytes)
    cpdef _send_socket_message(self, tuple message)
