# SPDX-License-Identifier: Apache-2.0
"""Requests that run at the same time on one HTTP/2 connection, in one thread.

Runs in: the tests. Every wait is bounded by the socket's timeout.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import h2.connection
import h2.events

from live.raw import SECONDS
from live.serving import Served


class Streams:
    """One connection. `bodies` and `ended` fill by stream id as `read_until` goes on."""

    def __init__(self, served: Served) -> None:
        self._socket = socket.create_connection((served.host, served.port), SECONDS)
        self._connection = h2.connection.H2Connection()
        self._connection.initiate_connection()
        self._authority = f"{served.host}:{served.port}"
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> int:
        """Sends a request. Returns: the id of its stream."""
        stream = self._connection.get_next_available_stream_id()
        pseudo = {":method": "GET", ":scheme": "http", ":authority": self._authority, ":path": path}
        named = {name.lower(): value for name, value in (fields or {}).items()}
        self._connection.send_headers(stream, list({**pseudo, **named}.items()), end_stream=True)
        self.bodies[stream] = b""
        self._flush()
        return stream

    def read_until_ended(self, *streams: int) -> None:
        """Reads until all of `streams` have ended; fails when the connection does before."""
        while not self.ended.issuperset(streams):
            data = self._socket.recv(65536)
            assert data, "the connection ended"
            for event in self._connection.receive_data(data):
                self._see(event)
            self._flush()

    def _see(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            size = event.flow_controlled_length
            self._connection.acknowledge_received_data(size, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        assert not isinstance(event, h2.events.StreamReset), event

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()
