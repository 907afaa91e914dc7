"""The simulated product as a process of its own, reduced to its readiness page.

SOLVEREIGN_DATABASE_URL and PORT are in the environment. Like the product it starts without its database and says so when it
is asked, but does not start with a database that lacks a table which it needs. Light, because each restore drill starts one.
"""

import json
import logging
import os
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer

import psycopg

from sandbox.staging.readiness import HEALTHY, readiness

HOST = "127.0.0.1"
CONNECT_SECONDS = 5
NEEDED_TABLE = b"core.sites"
logger = logging.getLogger("api.main")


class Product(TCPServer):
    """Answers one request after the other, with one connection to the database, which it keeps."""

    allow_reuse_address = True

    def __init__(self, port: int, database_url: str) -> None:
        """Raises psycopg.Error where the database lacks what is needed; one that is away is looked for again later."""
        self._url = database_url
        self._connection: psycopg.Connection | None = None
        try:
            self._connection_or_new().execute(b"SELECT FROM " + NEEDED_TABLE + b" LIMIT 0")
        except psycopg.OperationalError as exc:
            logger.warning("database_not_reachable: %s", exc)
        super().__init__((HOST, port), Routes)
        logger.info("portal_public_router_registered")

    def database(self) -> str:
        """HEALTHY, or why it cannot be reached now."""
        try:
            self._connection_or_new().execute(b"SELECT 1")
        except psycopg.OperationalError as exc:
            return f"unhealthy: {exc}"
        return HEALTHY

    def _connection_or_new(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        return self._connection


class Routes(BaseHTTPRequestHandler):
    """/health/ready, and nothing else."""

    server: Product

    def do_GET(self) -> None:
        """Answer as the product does."""
        is_ready_path = self.path == "/health/ready"
        body = json.dumps(readiness(self.server.database()) if is_ready_path else {"detail": "Not Found"}).encode()
        self.send_response(200 if is_ready_path else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
        """Requests are not logged."""


def main() -> int:
    """Serve until somebody ends it; 1 where it cannot start."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s:     %(message)s")
    try:
        product = Product(int(os.environ["PORT"]), os.environ["SOLVEREIGN_DATABASE_URL"])
    except psycopg.Error as exc:
        logger.error("application startup failed: %s", exc.diag.message_primary)
        return 1
    product.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
