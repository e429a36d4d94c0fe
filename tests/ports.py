# SPDX-License-Identifier: Apache-2.0
"""Ports for what has to know its port before it listens."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to whoever asks for port 0, or connects: a port that was one of
# these and free is somebody's the next moment, while other tests run beside.
PORTS = range(10_000, 30_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
