# SPDX-License-Identifier: Apache-2.0
"""What may be wrong with what a distributed node sends. Runs in any thread."""

from __future__ import annotations

from .errors import HornbeamError

__all__ = ["DistributionError", "Refused"]


class DistributionError(HornbeamError, ConnectionError):
    """A peer broke the distribution protocol, or ended it early; the connection is of no use.

    Attributes:
        frame: what it sent, as the protocol's description names it: `challenge`, `fragment`, …
        field: the part of it at fault, empty where it is the whole.
        reason: what is wrong with it, and what to do where something can be done.
    """

    def __init__(self, frame: str, field: str, reason: str) -> None:
        super().__init__(frame, field, reason)
        self.frame = frame
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        where = f"{self.field} of {self.frame}" if self.field else self.frame
        return f"{where}: {self.reason}"


class Refused(DistributionError):
    """A peer does not want the connection, and said so.

    Attributes:
        status: its answer: `nok` when it is connecting to this node itself, `not_allowed`.
    """

    def __init__(self, status: str, reason: str) -> None:
        DistributionError.__init__(self, "status", "", reason)
        self.args = (status, reason)
        self.status = status
