# SPDX-License-Identifier: Apache-2.0
# C types for _wire.py, which is compiled with them and runs without.

cimport cython


cdef class Splitter:
    cdef list _kept
    cdef Py_ssize_t _size
    cdef Py_ssize_t _wanted

    cpdef list feed(self, bytes data)


@cython.locals(known=dict)
cpdef list parse(bytes packet, dict checks=*)
cpdef list packets(list messages)
