# SPDX-License-Identifier: Apache-2.0
# C types for _serving.py, which is compiled with them and runs without.

cimport cython

from hornbeam_erlang._hub cimport Hub
from hornbeam_erlang._leader cimport Waiter
from hornbeam_erlang._outbox cimport Outbox


@cython.locals(waiter=Waiter, outbox=Outbox, message=tuple, origins=dict)
cpdef work(Hub hub, serve)
