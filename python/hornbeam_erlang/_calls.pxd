# SPDX-License-Identifier: Apache-2.0
# C types for _calls.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._flow cimport PendingCall
from hornbeam_erlang._hub cimport Hub
from hornbeam_erlang._session cimport Session


@cython.locals(hub=Hub, pending=PendingCall)
cpdef call_service(service, positional, keyword, timeout_ms, operation)
cpdef deadline_of(timeout_ms, operation)
cpdef outcome(tuple answer, operation, timeout_ms)
cpdef current_origin(Hub hub)
@cython.locals(session=Session)
cpdef open_call(Hub hub, pending, timeout_ms, bytes service, bytes payload, code=*)
cpdef bint wait_for(Hub hub, PendingCall pending, deadline) except -1
