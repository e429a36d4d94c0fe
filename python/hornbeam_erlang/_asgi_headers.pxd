# SPDX-License-Identifier: Apache-2.0
# C types for _asgi_headers.py, which is compiled with them and runs without.

cimport cython

cdef dict _pairs

@cython.locals(encoded=dict)
cpdef dict encode_headers(headers)
cpdef _add(dict encoded, bytes name, bytes value)
