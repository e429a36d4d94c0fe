# SPDX-License-Identifier: Apache-2.0
"""Types of the compiled codec; `_codec_pure` has the documentation."""

from typing import TypeVar

__all__ = [
    "NAME",
    "decode",
    "decode_wire",
    "encode",
    "encode_wire",
    "encode_wire_packet",
    "encode_wire_parts",
    "expand",
    "is_open",
]

NAME: str

Message = TypeVar("Message", bound=tuple[object, ...])

def encode(value: object, *, max_depth: int = ..., max_size: int = ...) -> bytes: ...
def decode(data: object, *, max_depth: int = ..., max_size: int = ...) -> object: ...
def encode_wire(term: object, *, max_depth: int = ..., max_size: int = ...) -> bytes: ...
def encode_wire_packet(messages: list[Message]) -> bytes: ...
def encode_wire_parts(messages: list[Message]) -> list[bytes]: ...
def decode_wire(data: object, *, max_depth: int = ..., max_size: int = ...) -> object: ...
def expand(
    data: bytes, pos: int, atoms: list[bytes], *, max_size: int = ...
) -> tuple[bytes, int]: ...
def is_open(message: tuple[object, ...]) -> bool: ...
