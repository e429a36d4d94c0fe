# SPDX-License-Identifier: Apache-2.0
# C types for _flow.py, which is compiled with them and runs without.

cdef class Window:
    cdef public Py_ssize_t granted
    cdef public Py_ssize_t sent
    cdef public Py_ssize_t body_granted
    cdef public Py_ssize_t body_received
    cdef public bytes cancelled
    cdef public object waiter

    cpdef Py_ssize_t credit(self) except? -1


cdef class Flow(Window):
    cdef public object chunks
    cdef public bint body_open


cdef class SocketFlow(Window):
    cdef public list messages
    cdef public tuple closed


cdef class PendingCall:
    cdef public tuple answer
    cdef public object nested
    cdef public object waiter

    cpdef bint is_done(self) except -1
    cpdef bint is_ready(self) except -1


cdef class PendingStream(PendingCall):
    cdef public object items
