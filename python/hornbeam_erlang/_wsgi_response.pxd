# SPDX-License-Identifier: Apache-2.0
# C types for _wsgi_response.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._hub cimport Hub


cdef class Response:
    cdef public Hub hub
    cdef public object ident
    cdef public bint is_head
    cdef public int code
    cdef public dict headers
    cdef public object length
    cdef public Py_ssize_t sent
    cdef public bint head_sent
    cdef public bint is_held
    cdef public Py_ssize_t timeout

    cpdef answer(self, chunks)
    cpdef bint has_no_body(self) except -1
