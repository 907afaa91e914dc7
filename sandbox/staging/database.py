"""The product's databases, staging and production, made once from seed.sql."""

import contextlib
import hashlib
import secrets
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

from sandbox.staging.versions import migration_checksum, migrations, new_migrations

TEST_TENANT = 90
BOT_ROLE = "release_bot"
RESTORE_ROLE = "release_restore"
RESTORE_PASSWORD = _LOGIN_PASSWORD = "sandbox"

_ROLES = (
    "CREATE ROLE solvereign_api NOLOGIN",
    "CREATE ROLE solvereign_admin NOLOGIN",
    "CREATE ROLE solvereign_platform NOLOGIN",
    "CREATE ROLE solvereign_definer NOLOGIN",
    f"CREATE ROLE {BOT_ROLE} LOGIN PASSWORD '{_LOGIN_PASSWORD}' IN ROLE solvereign_platform",
    f"CREATE ROLE {RESTORE_ROLE} LOGIN CREATEDB PASSWORD '{RESTORE_PASSWORD}'",
)


@dataclass(frozen=True)
class ProductDatabase:
    """Where one environment's database is, and the rows in it that a release may use."""

    environment: str
    superuser_url: str
    app_url: str
    bot_url: str
    restore_url: str
    tenant_id: int
    stripe_customer_id: str
    login_email: str
    login_password: str


def prepare(postgres_url: str, *, prefix: str, environment: str) -> ProductDatabase:
    """Make the database `<prefix>_<environment>` and the roles if they are missing; a second call changes nothing.

    `postgres_url` is the DSN of a superuser, `environment` is "staging" or "production". Raises psycopg.Error when the
    server cannot be reached or the user is no superuser.
    """
    name = f"{prefix}_{environment}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in _ROLES:
            # There already, or made by another sandbox at this very moment.
            with contextlib.suppress(errors.DuplicateObject, errors.UniqueViolation):
                connection.execute(statement)
        with contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    superuser_url = url(postgres_url, dbname=name)
    database = ProductDatabase(
        environment=environment,
        superuser_url=superuser_url,
        app_url=url(postgres_url, dbname=name, options="-c role=solvereign_api"),
        bot_url=url(postgres_url, dbname=name, user=BOT_ROLE, password=_LOGIN_PASSWORD),
        restore_url=url(postgres_url, dbname="postgres", user=RESTORE_ROLE, password=RESTORE_PASSWORD),
        tenant_id=TEST_TENANT,
        stripe_customer_id=f"cus_{environment}_releasetest",
        login_email=f"release-test@{environment}.solvereign.example",
        login_password=f"release-test-{environment}",
    )
    with psycopg.connect(superuser_url) as connection:
        _fill(connection, database)
    return database


def url(base: str, **changes: str) -> str:
    """The DSN `base` as a URL, with some of its parts replaced (dbname, user, password, options)."""
    parts: dict[str, Any] = {**conninfo_to_dict(base), **changes}
    user, password, dbname = (quote(str(parts.pop(key, "")), safe="") for key in ("user", "password", "dbname"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    rest = urlencode(
        {key: str(value) for key, value in parts.items() if value is not None},
        quote_via=quote,
    )
    return f"postgresql://{login}/{dbname}?{rest}" if rest else f"postgresql://{login}/{dbname}"


def hash_password(password: str, salt: bytes | None = None) -> str:
    """`salt$hash` as it is kept in auth.users.password_hash (scrypt)."""
    salt = salt or secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1)
    return f"{salt.hex()}${digest.hex()}"


def password_matches(password: str, hashed: str) -> bool:
    """Whether `password` is the one behind a stored `salt$hash`."""
    return secrets.compare_digest(hash_password(password, bytes.fromhex(hashed.partition("$")[0])), hashed)


def _fill(connection: psycopg.Connection, database: ProductDatabase) -> None:
    """Load seed.sql and the rows that need Python, in one transaction, unless that was done before."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('sandbox.seed'))")
    present = connection.execute("SELECT to_regclass('public.tenants')").fetchone()
    if present is not None and present[0] is not None:
        return
    connection.execute("SELECT set_config('sandbox.environment', %s, true)", (database.environment,))
    connection.execute(resources.files("sandbox.staging").joinpath("seed.sql").read_bytes())
    connection.execute(
        "INSERT INTO auth.users (email, display_name, password_hash, tenant_id, role_name)"
        " VALUES (%s, 'Release Test', %s, %s, 'dispatcher')",
        (
            database.login_email,
            hash_password(database.login_password),
            database.tenant_id,
        ),
    )
    if database.environment == "production":
        record_migrations(connection, is_released=True)
        return
    for text in new_migrations().values():
        connection.execute("\n".join(line for line in text.splitlines() if line not in {"BEGIN;", "COMMIT;"}).encode())
    record_migrations(connection)


def record_migrations(connection: psycopg.Connection, *, is_released: bool = False) -> None:
    """Record every migration by file and checksum, as after a proof on a fresh database.

    ``is_released``: without those that only the candidate brings.
    """
    for name in migrations(is_released=is_released):
        connection.execute(
            "INSERT INTO schema_migrations (version, description, checksum, file_name) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (version) DO UPDATE SET checksum = EXCLUDED.checksum",
            (f"file:{name}", name.partition("_")[2].removesuffix(".sql"), migration_checksum(name), name),
        )
