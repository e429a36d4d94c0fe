# SPDX-License-Identifier: Apache-2.0
"""Applications the tests load into real workers."""

from __future__ import annotations


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello\n"]


def gen(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    yield b"one"
    yield b"two"
