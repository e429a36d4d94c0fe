# SPDX-License-Identifier: Apache-2.0
# C types for _outbox.py, which is compiled with them and runs without.

cdef class Outbox:
    cdef public list pending
    cdef public dict held
    cdef public Py_ssize_t flushes
    cdef public double sent_at
    cdef public double since
    cdef Py_ssize_t _bytes
    cdef object _writer
    cdef object _lock

    cpdef put(self, tuple message, Py_ssize_t size=*)
    cpdef flush_if_due(self)
    cpdef flush(self)
