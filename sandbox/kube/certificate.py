"""The certificate of the simulated API server: clients send a bearer token over TLS only."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme


def ensure_certificate(folder: Path) -> tuple[Path, Path]:
    """The files (certificate of the authority, certificate with key of the server) in `folder`, made on the first call.

    The server's is for 127.0.0.1; its key is readable by its owner only.
    """
    authority, server = folder / "authority.pem", folder / "server.pem"
    if not server.exists():
        folder.mkdir(parents=True, exist_ok=True)
        issuer = trustme.CA(organization_name="kubernetes sandbox")
        write_private(authority, issuer.cert_pem.bytes())
        write_private(server, issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())
    return authority, server


def write_private(path: Path, content: bytes) -> None:
    """Replace a file, readable by its owner only, in one step."""
    fresh = path.with_name(f".{path.name}.tmp")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        out.write(content)
    fresh.replace(path)


def server_tls(server: Path) -> ssl.SSLContext:
    """The TLS settings of a server with this certificate and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return context
