"""The simulated S3: moto in a thread, with one bucket whose objects are kept in a folder over a restart."""

import base64
import json
import socket
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from sandbox.faults import Faults
from sandbox.staging.serving import HOST

BUCKET = "solvereign-backups-prod"
PREFIX = "postgresql/"
REGION = "eu-central-1"
ACCESS_KEY_ID = "AKIASANDBOX"
POOR_ACCESS_KEY_ID = "AKIAPOOR"  # its owner may list the bucket and read nothing in it
SECRET_ACCESS_KEY = "sandbox-s3-secret"

_POLL_SECONDS = 0.05
_BACKLOG = 64
_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>'


class S3:
    """An S3 endpoint on the bound socket `sock`. `folder` is where the objects lie while it is stopped."""

    def __init__(self, faults: Faults, folder: Path, sock: socket.socket) -> None:
        self._faults = faults
        self._folder = folder
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        port = sock.getsockname()[1]
        with sock:  # the server makes itself a copy
            sock.listen(_BACKLOG)
            self._server = make_server(
                HOST, port, self._answer, threaded=True, request_handler=MotoRequestHandler, fd=sock.fileno()
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="s3", daemon=True
        )
        self.url = f"http://{HOST}:{port}"

    def facts(self) -> dict[str, str]:
        """What a client needs to know: endpoint_url, bucket, prefix, access_key_id, secret_access_key, region."""
        return {
            "endpoint_url": self.url,
            "bucket": BUCKET,
            "prefix": PREFIX,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
            "region": REGION,
        }

    def start(self) -> None:
        """Serve, with the bucket and what it held when it was stopped the last time."""
        self._backend.create_bucket(BUCKET, REGION)
        for file in sorted(self._folder.glob("*.json")):
            attributes = json.loads(file.read_text(encoding="utf-8"))
            data = file.with_suffix(".data").read_bytes()
            key = self._backend.put_object(
                BUCKET,
                attributes["key"],
                data,
                storage=attributes["storage_class"],
                encryption=attributes["encryption"],
            )
            key.set_metadata(attributes["metadata"])
            key.last_modified = datetime.fromisoformat(attributes["last_modified"])
        self._thread.start()

    def stop(self) -> None:
        """End the server and its thread, and keep the objects."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            old.unlink()
        for key in self._backend.buckets[BUCKET].keys.values():
            path = self._folder / base64.urlsafe_b64encode(key.name.encode()).decode()
            path.with_suffix(".data").write_bytes(key.value)
            attributes = {
                "key": key.name,
                "storage_class": key.storage_class,
                "encryption": key.encryption,
                "metadata": dict(key.metadata),
                "last_modified": key.last_modified.isoformat(),
            }
            path.with_suffix(".json").write_text(json.dumps(attributes), encoding="utf-8")

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer by moto, after two questions that moto does not ask: is S3 up, and is the key known?"""
        if self._faults.on("s3_down"):
            return _refuse(start_response, "503 Service Unavailable", "ServiceUnavailable", "Please try again later.")
        signature = environ.get("HTTP_AUTHORIZATION", "") + environ.get("QUERY_STRING", "")
        poor = f"Credential={POOR_ACCESS_KEY_ID}/" in signature
        if poor and "list-type=2" not in environ.get("QUERY_STRING", ""):
            return _refuse(start_response, "403 Forbidden", "AccessDenied", "Access Denied")
        if not poor and f"Credential={ACCESS_KEY_ID}" not in signature:
            message = "The AWS Access Key Id you provided does not exist in our records."
            return _refuse(start_response, "403 Forbidden", "InvalidAccessKeyId", message)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


def _refuse(start_response: StartResponse, status: str, code: str, message: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/xml")])
    return [_ERROR.format(code, message).encode()]
