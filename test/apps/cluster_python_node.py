# SPDX-License-Identifier: Apache-2.0
"""A Python node that calls a service of a node all the time, until its standard input ends; a line
for each call: what came of it, and after how many milliseconds.

Arguments: its address, the other node's address, the port of every node, the cookie.
"""

import logging
import select
import sys
import time

from hornbeam_erlang import HornbeamError
from hornbeam_erlang.node import Node

TIMEOUT = 1.0  # seconds for a call
PAUSE = 0.05
TICK = 4

own, other, port, cookie = sys.argv[1:]
logging.getLogger("hornbeam").setLevel(logging.CRITICAL)  # it is told of what is done to it
target = f"hb@{other}"


def outcome(node):
    try:
        _, value = node.call(("hornbeam_state", target), ("incr", [own, 1]), timeout=TIMEOUT)
    except HornbeamError as exc:
        return type(exc).__name__
    return str(value)


with Node(f"py@{own}", cookie=cookie, port=int(port), epmd=False, net_ticktime=TICK) as node:
    node.connect(target, address=(other, int(port)), keep=True)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        before = time.monotonic()
        result = outcome(node)
        print(result, round(1000 * (time.monotonic() - before)), flush=True)
