# SPDX-License-Identifier: Apache-2.0
"""TLS between nodes, as `-proto_dist inet_tls` of Erlang speaks it: the same protocol inside TLS.

Runs in whatever thread makes the node.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

__all__ = ["TLS"]


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificates of a node. Both sides of a connection have to show one that `authority` signed.

    Attributes:
        certificate: PEM file of the node's certificate, and those between it and the authority.
        key: PEM file of its private key.
        authority: PEM file of the certificates that are trusted.
        check_hostname: whether a node that is connected to has to be the host of its name.
    """

    certificate: str
    key: str
    authority: str
    check_hostname: bool = True

    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """For connecting, for accepting. Raises OSError, ssl.SSLError: a file is not usable."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = self.check_hostname
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.verify_mode = ssl.CERT_REQUIRED
        for context in (client, server):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        return client, server
