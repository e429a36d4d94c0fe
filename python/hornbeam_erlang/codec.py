# SPDX-License-Identifier: Apache-2.0
"""Chooses the term codec at import: the compiled one when it was built, else its pure twin.

Runs in whichever thread imports first. `NAME` says which one it is: `compiled` or `pure`. The
environment variable HORNBEAM_CODEC forces one of them; to force a compiled codec that is not
there is an ImportError.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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

_CHOICES = ("", "compiled", "pure")
_HOW_TO_BUILD = (
    "HORNBEAM_CODEC=compiled, but the compiled codec is not there; build it with"
    " 'pip install --force-reinstall hornbeam-erlang', or 'make build' in a source tree"
)

_forced = os.environ.get("HORNBEAM_CODEC", "")
if _forced not in _CHOICES:
    raise ImportError(f"HORNBEAM_CODEC is 'compiled' or 'pure', not {_forced!r}")

if TYPE_CHECKING or _forced == "pure":
    from ._codec_pure import (
        NAME,
        decode,
        decode_wire,
        encode,
        encode_wire,
        encode_wire_packet,
        encode_wire_parts,
        expand,
        is_open,
    )
else:
    try:
        from ._codec_compiled import (
            NAME,
            decode,
            decode_wire,
            encode,
            encode_wire,
            encode_wire_packet,
            encode_wire_parts,
            expand,
            is_open,
        )
    except ModuleNotFoundError as exc:
        if exc.name != f"{__package__}._codec_compiled":
            raise
        if _forced:
            raise ImportError(_HOW_TO_BUILD) from exc
        from ._codec_pure import (
            NAME,
            decode,
            decode_wire,
            encode,
            encode_wire,
            encode_wire_packet,
            encode_wire_parts,
            expand,
            is_open,
        )
