# SPDX-License-Identifier: Apache-2.0
# C types for _session_calls.py, which is compiled with them and runs without.

cdef class CallSession:
    cdef public set calls
    cdef public set served
    cdef public dict streams
    cdef public dict served_streams
    cdef public dict subscriptions
    cdef public object _last_open
    cdef public object _last_call
    cdef public object _last_served
    cdef public object _last_subscription
