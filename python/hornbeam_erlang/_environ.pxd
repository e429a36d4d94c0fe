# SPDX-License-Identifier: Apache-2.0
# C types for _environ.py, which is compiled with them and runs without.

cimport cython


cdef class EnvironMaker:
    cdef str _prefix
    cdef dict _template
    cdef public dict _connections

    @cython.locals(
        method=bytes, path=bytes, query=bytes, headers=dict, environ=dict, base=dict, target=str,
        info=str, text=str, name=bytes, value=bytes
    )
    cpdef dict make(self, tuple message)
