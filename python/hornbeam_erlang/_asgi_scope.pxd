# SPDX-License-Identifier: Apache-2.0
# C types for _asgi_scope.py, which is compiled with them and runs without.

cimport cython


cdef class ScopeMaker:
    cdef str _root_path
    cdef object _files
    cdef dict _state
    cdef public dict _connections

    @cython.locals(
        base=tuple, scope=dict, method=bytes, path=bytes, text=str, version=bytes, headers=dict
    )
    cpdef dict http(self, tuple message)


@cython.locals(pairs=list)
cpdef list fields(bytes version, headers)
@cython.locals(extensions=dict)
cpdef dict http_extensions(bytes version, headers, files)
