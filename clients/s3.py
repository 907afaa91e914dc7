"""S3: the server of the bucket that backups are written to, and its errors by code."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from clients.errors import SERVER_ERRORS, ClientError, first_line, status_hint
from clients.http import CONNECT_TIMEOUT, is_loopback
from clients.needs import VendorRight
from clients.packages import LOADING, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    import boto3
    from mypy_boto3_s3 import S3Client

    from clients.declared import NeedGuard
    from clients.settings import Backup


ACTIONS = {
    "list_objects_v2": "ListBucket",
    "head_object": "GetObject",
    "get_object": "GetObject",
}  # those that only read


def s3_client(part: Backup, timeout: float) -> S3Client:
    """The bucket's server. Credentials of the settings, else boto3's own chain. ``timeout``: seconds for one answer."""
    load("boto3", "botocore.config")
    from botocore.config import Config

    settings = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=timeout,
        retries={"max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path"} if part.endpoint_url else None,
        proxies={} if is_loopback(part.endpoint_url) else None,
    )
    secret = part.secret_access_key
    with LOADING:  # a session is for one thread at a time; its clients are for any (boto3's guide, "Multithreading")
        return _aws().client(
            "s3",
            endpoint_url=part.endpoint_url or None,
            region_name=part.region,
            aws_access_key_id=part.access_key_id.get_secret_value() if part.access_key_id else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=settings,
        )


class GuardedS3:
    """The bucket's server for a user that has declared its needs: each operation insists on its action."""

    def __init__(self, client: S3Client, declared: NeedGuard) -> None:
        self._client, self._declared = client, declared

    def get_paginator(self, operation: str) -> Any:
        """As of boto3."""
        self._insist(operation)
        return self._client.get_paginator(operation)  # type: ignore[call-overload]

    def __getattr__(self, operation: str) -> Any:
        self._insist(operation)
        return getattr(self._client, operation)

    def _insist(self, operation: str) -> None:
        action = ACTIONS.get(operation, operation.title().replace("_", ""))
        self._declared.retry_read(VendorRight("backup", f"s3:{action}"))
        if operation not in ACTIONS:
            self._declared.insist_on_change(f"{operation} in the bucket")


@cache
def _aws() -> boto3.session.Session:
    """The session that makes the clients. One for all: each reads the description of S3, a tenth of a second of work."""
    import boto3

    return boto3.session.Session()


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Translate botocore errors by code; ``what`` completes "cannot …", such as "list s3://bucket/prefix"."""
    load("botocore.exceptions")
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as exc:
        error = exc.response.get("Error", {})
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise ClientError(
            f"cannot {what}: {error.get('Code', status)} {error.get('Message', '')}".rstrip(),
            hint=status_hint(status),
            status=status,
            outcome_unknown=status >= SERVER_ERRORS,
        ) from exc
    except exceptions.NoCredentialsError as exc:
        raise ClientError(
            f"cannot {what}: no S3 credentials",
            hint="Set backup.access_key_id and secret_access_key, or give the bot a role.",
        ) from exc
    except exceptions.BotoCoreError as exc:  # EndpointConnectionError, ReadTimeoutError and their like
        raise ClientError(
            f"cannot {what}: {first_line(exc)}", hint="Is the S3 endpoint up and reachable?", outcome_unknown=True
        ) from exc
