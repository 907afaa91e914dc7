"""The objects in the bucket of the backups: what is there, and how one check hands an object on to another."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checks.contract import CheckError
from clients.s3 import s3_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

    from clients.settings import Backup
    from clients.target import Target


def objects(s3: S3Client, part: Backup) -> dict[str, tuple[str, str]]:
    """Key -> (time of change, ETag). A listing is in order of keys, not of time, so all pages are read."""
    changes_by_key = {}
    with s3_errors(f"list s3://{part.bucket}/{part.prefix}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=part.bucket, Prefix=part.prefix):
            for item in page.get("Contents", []):
                changes_by_key[item["Key"]] = (item["LastModified"].isoformat(), item["ETag"])
    return changes_by_key


def environment_of(target: Target, parameter: str) -> str:
    """Whose backups are meant: of the environment that a parameter names, else of the target's own.

    Environments may share a bucket, so a backup that does not say whose it is might be production's.
    """
    return parameter or target.environment or target.name


def made_at(metadata: Mapping[str, str], stored_at: datetime) -> datetime:
    """When a backup was begun, by its metadata ``created-at``; without one that can be read: ``stored_at``, when it was stored.

    The two differ for a copy of an old backup, which is new in the bucket only.
    """
    try:
        created_at = datetime.fromisoformat(metadata.get("created-at", ""))
    except ValueError:
        return stored_at
    return created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC)


def handed_on(bucket: str, key: str, size: int) -> dict[str, Any]:
    """An object as ``data`` of an answer; ``size`` in bytes.

    Data is redacted before it is stored, and a name may hold what is a credential elsewhere, such as a database's password
    that is its name, too. The digest stays, so ``taken_up`` finds the object all the same.
    """
    return {"bucket": bucket, "key": key, "size": size, "name_sha256": _digest(bucket, key)}


def taken_up(s3: S3Client, part: Backup | None, data: Mapping[str, Any]) -> tuple[str, str]:
    """Bucket and key of what ``handed_on`` gave, by its digest where the name was redacted. Raises CheckError."""
    bucket, key, digest = str(data["bucket"]), str(data["key"]), data.get("name_sha256")
    if digest in {None, _digest(bucket, key)}:
        return bucket, key
    for candidate in objects(s3, part) if part is not None else ():
        if part is not None and _digest(part.bucket, candidate) == digest:
            return part.bucket, candidate
    raise CheckError(
        f"the backup {key} no longer exists",
        hint="Its name contains a credential, so it isn't kept. Run the check that finds the backup again.",
    )


def _digest(bucket: str, key: str) -> str:
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()
