# SPDX-License-Identifier: Apache-2.0
# C types for _wsgi_headers.py, which is compiled with them and runs without.

cimport cython

cdef dict _statuses
cdef dict _pairs

cpdef int status_code(status) except -1
@cython.locals(encoded=dict, known=tuple)
cpdef dict encode_headers(headers)
cpdef _add(dict encoded, bytes name, bytes value)
