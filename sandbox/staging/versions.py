"""Which versions of the product exist, and what each is made of: commit, image digest, migration files."""

import hashlib
import re

GITHUB_REPOSITORY = "solvereign/solvereign"
BRANCH = "main"
IMAGE_REPOSITORY = "solvereign/api"
IMAGE = f"ghcr.io/{IMAGE_REPOSITORY}"
RELEASED_VERSIONS = ("v4.6.0", "v4.7.0")
LIVE = "v4.7.0"
CANDIDATE = "v4.8.0"

_IN_REGISTRY = re.compile(r"v4\.[6-9]\.[0-9]")

BACKUP_MANIFEST = "k8s/backup-cronjob.yaml"
BACKUP_IMAGE = "ghcr.io/solvereign/backup:latest"
BACKUP_SCHEDULE = "0 2 * * *"
NEW_BACKUP_SCHEDULE = "30 1 * * *"  # what the candidate changes it to

_MIGRATIONS = {
    "044_stripe_billing.sql": "create schema billing;\n",
    "045_billing_gating.sql": "alter table tenants add column billing_status text not null default 'none';\n",
    "046_consent_management.sql": "create schema consent;\n",
    "047_billing_enforcement.sql": "alter table tenants add column billing_override_until timestamptz;\n",
    "048_legal_acceptance.sql": "create table auth.legal_documents (id integer primary key);\n",
    "060_verify_pass_gate.sql": "create function verify_pass_gate() returns void language sql as '';\n",
}

# What the candidate brings: applied to staging, not to production yet.
_NEW_MIGRATIONS = {
    "061_invoice_reminders.sql": (
        "-- migration: additive\n"
        "-- When a customer was last reminded of an invoice.\n"
        "BEGIN;\n"
        "ALTER TABLE billing.invoices ADD COLUMN IF NOT EXISTS reminded_at timestamptz;\n"
        "COMMENT ON COLUMN billing.invoices.reminded_at IS 'the last reminder; null: none';\n"
        "COMMIT;\n"
    ),
}


def commit_sha(name: str) -> str:
    """The commit that a version or a branch of the simulated repository points at."""
    return hashlib.sha1(f"{GITHUB_REPOSITORY}@{name}".encode(), usedforsecurity=False).hexdigest()


def image_digest(tag: str, *, is_moved: bool = False) -> str:
    """The digest that the registry gives for `tag`; another one when the tag `is_moved`."""
    return "sha256:" + hashlib.sha256(f"{IMAGE_REPOSITORY}:{tag}{'@moved' * is_moved}".encode()).hexdigest()


def image_tags() -> list[str]:
    """Every tag in the registry: v4.6.0 to v4.9.9."""
    return [f"v4.{minor}.{patch}" for minor in range(6, 10) for patch in range(10)]


def in_registry(tag: str) -> bool:
    """Whether an image with this tag was ever pushed."""
    return _IN_REGISTRY.fullmatch(tag) is not None


def migrations(*, is_released: bool = False) -> dict[str, str]:
    """File name to SQL text of the product's migrations, in the order in which they are applied.

    ``is_released``: without those that only the candidate has.
    """
    return dict(_MIGRATIONS) if is_released else {**_MIGRATIONS, **_NEW_MIGRATIONS}


def new_migrations() -> dict[str, str]:
    """Those that only the candidate has."""
    return dict(_NEW_MIGRATIONS)


def backup_manifest(*, is_released: bool) -> str:
    """The manifest of the backup CronJob in the repository; the candidate has another schedule."""
    schedule = BACKUP_SCHEDULE if is_released else NEW_BACKUP_SCHEDULE
    return f"""\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: solvereign-backup
  namespace: solvereign
spec:
  schedule: "{schedule}"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: backup
              image: {BACKUP_IMAGE}
"""


def documents(version: str) -> dict[str, str]:
    """File name to text of the documents that name the newest version."""
    bare = version.removeprefix("v")
    return {
        "claude.md": f"# SOLVEREIGN\n\nStatus: V{bare} | Last Updated: January 2026\n",
        "CHANGELOG.md": f"# Changelog\n\n## [{bare}] - 2026-01-15\n\n### Added\n\n- Night shifts across midnight\n",
    }


def migration_checksum(name: str) -> str:
    """The lower-case sha256 that the product writes into schema_migrations.checksum for a file."""
    return hashlib.sha256(migrations()[name].encode()).hexdigest()
