# SPDX-License-Identifier: Apache-2.0
# C types for _wsgi.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._environ cimport EnvironMaker
from hornbeam_erlang._hub cimport Hub
from hornbeam_erlang._wsgi_response cimport Response


cdef class WSGI:
    cdef Hub _hub
    cdef object _application
    cdef object _files
    cdef EnvironMaker _environ

    @cython.locals(response=Response, environ=dict)
    cpdef serve(self, tuple message)
