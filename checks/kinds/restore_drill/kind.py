"""Restores a backup into a scratch database and asks the product's verify functions there."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field, StringConstraints

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from checks.kinds.restore_drill import boot_pod, booting, pg_tools
from checks.kinds.restore_drill.boot_pod import Boot
from checks.kinds.restore_drill.booting import BOOT_RIGHTS
from checks.kit import verification
from checks.kit.backups import environment_of, made_at, taken_up
from clients.errors import ClientError
from clients.needs import LIST_BACKUPS, MAKE_DATABASES, READ_BACKUPS, Changes, Need
from clients.s3 import s3_errors
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from checks.contract import Change, CheckContext

SCRATCH = re.compile(r"restore_drill_[0-9]+_[0-9a-f]{8}")  # the only databases that undo() may drop
LOG_NAME = "product-log.txt"
CHUNK = 1 << 20  # bytes of a dump that are read at once
POLL = 0.2  # seconds between two looks at pg_restore
OWN_VERSION_UNTIL = (
    16  # a newer pg_restore sends settings that a server of this age does not know (transaction_timeout)
)

# pg_restore hands the server's texts on but not their codes. A server that speaks another language than English still
# makes the drill fail, only with a less helpful summary.
NO_ROLE = re.compile(r'role "([^"]+)" does not exist')
TOO_NEW = re.compile(r"unsupported version \(1\.\d+\) in file header")  # another major version is no archive at all

Name = Annotated[str, StringConstraints(pattern=verification.FUNCTION.pattern)]
Count = Annotated[int, Field(ge=0)]


class RestoreDrillParams(Params):
    """What must hold in the restored database."""

    needs_key_from: str = Field(
        default="go.backup", description="Id of the check that found the backup; it has to be in `needs`."
    )
    environment: str = Field(
        default="", description="Environment of the backup; any other is not restored. Empty: the target's own."
    )
    max_age_hours: float = Field(default=24, gt=0, description="Older backups are not restored.")
    functions: tuple[Name, ...] = Field(description="Verify functions of which every row must be PASS.")
    counts: dict[Name, Count] = Field(description="Table -> rows that it must have at least.")
    boot: Boot | None = Field(
        default=None, description="Also start the product on the restored database; unset: don't."
    )


class _BadBackup(Exception):
    """What the backup lacks; becomes FAIL. ``log``: of the product that does not start with it."""

    def __init__(self, summary: str, *, hint: str, seen: str = "", log: str = "") -> None:
        super().__init__(summary)
        self.summary, self.hint, self.seen, self.log = summary, hint, seen, log


class RestoreDrill(Kind):
    """Restores without owners and rights: they are not in the dump, so functions that judge rights are not asked.

    With ``boot`` the product's container of the Deployment is started too, in a pod of its own with the restored database,
    and asked for its readiness. It runs with the variables that the Deployment has, but for that of the database; init
    containers and sidecars are left out. It connects as the role of ``restore_database_url``, which owns what was restored,
    with the password from a Secret that you make there (`restore_pod.secret` of the target). The bot has to be allowed to
    create pods there, and with that can reach whatever is in the namespace; `release-bot doctor` names the rights.
    """

    name: ClassVar[str] = "restore_drill"
    summary: ClassVar[str] = "Restores the backup into a scratch database and verifies it there"
    params: ClassVar[type[Params]] = RestoreDrillParams
    timeout: ClassVar[float] = 600.0

    def needs(self, params: RestoreDrillParams) -> tuple[Need, ...]:
        """To find and read the backup, to make a database for it, and to start the product with it where that is asked for."""
        boot = BOOT_RIGHTS if params.boot else ()
        return (Changes("restore"), LIST_BACKUPS, READ_BACKUPS, MAKE_DATABASES, *boot)

    def run(self, params: RestoreDrillParams, ctx: CheckContext) -> Answer:
        """FAIL when the dump is damaged, does not restore, or what it holds does not verify."""
        backup = ctx.needs.get(params.needs_key_from, {})
        if "bucket" not in backup or "key" not in backup:
            raise CheckError(
                f"no backup from {params.needs_key_from} to restore",
                hint=f"Add {params.needs_key_from} to `needs` of this check, and run that check first.",
            )
        bucket, key = taken_up(ctx.clients.s3(), ctx.target.backup, backup)
        question = f"pg_restore of s3://{bucket}/{key} into a scratch database, then verify functions and row counts"
        expectation = "; ".join(
            [*(f"{name}() all PASS" for name in params.functions)]
            + [f"{table} at least {number} rows" for table, number in params.counts.items()]
            + ([f"the product is {params.boot.value}"] if params.boot else [])
        )
        with tempfile.TemporaryDirectory(prefix="restore-drill-") as folder, _server(ctx) as server:
            dump = Path(folder) / "backup.dump"
            try:
                with _phase(f"downloading {key}", ctx):
                    _download(ctx, params, bucket, key, dump)
                program = _pg_restore(server)
                with _phase("reading the dump's table of contents", ctx):
                    _run(ctx, [program, "--list", dump], "read the dump's table of contents")
                start = time.monotonic()
                name = f"restore_drill_{int(time.time())}_{secrets.token_hex(4)}"
                late = f"Drop database {name} then."
                with self.undo_after(f"drop scratch database {name}", {"database": name}, ctx, late=late) as change:
                    with _phase(f"restoring {key}", ctx):
                        _create(server, name, change)
                        _restore(ctx, program, dump, name)
                    seconds = time.monotonic() - start
                    with _phase("verifying what was restored", ctx):
                        facts = _verify(ctx, params, name)
                    details = list(facts)
                    if params.boot:
                        details.append(self._boot(params.boot, server, name, ctx))
            except _BadBackup as bad:
                return Answer(
                    Outcome.FAIL,
                    bad.summary,
                    Evidence(question, expectation, bad.seen or bad.summary, bad.log, LOG_NAME if bad.log else ""),
                    hint=bad.hint,
                )
        started_too = (
            ", and the product starts" if params.boot else ""
        )  # before the facts: the card shows the first words
        summary = "; ".join([f"restored in {seconds:.1f} s{started_too}", *facts])
        return Answer(Outcome.PASS, summary, Evidence(question, expectation, "\n".join(details)))

    def _boot(self, how: Boot, server: psycopg.Connection, name: str, ctx: CheckContext) -> str:
        """What the product says once it is ready with that database. Raises _BadBackup when it does not get there."""
        query = (  # autovacuum has no user, and the drill's own connections are named
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL"
            " AND application_name IS DISTINCT FROM 'release-bot' LIMIT 1"
        )

        def is_connected() -> bool:
            return server.execute(query, (name,)).fetchone() is not None

        payload = booting.undo_payload(name, ctx)
        pod = f"pod {boot_pod.NAME} in {payload['namespace']}"
        with (
            self.undo_after(f"remove {pod}", payload, ctx, late=f"Delete {pod} then.") as change,
            _phase("starting the product against the restored database", ctx),
        ):
            result = booting.boot(how, change, is_connected, ctx)
        if result.trouble:
            raise _BadBackup(
                f"the product doesn't start with the restored database: {result.trouble}",
                hint="The log of the product is attached.",
                seen=result.answer,
                log=result.log,
            )
        return result.answer

    def undo(self, payload: Mapping[str, Any], ctx: CheckContext) -> None:
        """Drop the scratch database, or take away the product that was started with it."""
        name = str(payload["database"])
        if not SCRATCH.fullmatch(name):
            raise CheckError(f"{name!r} isn't a scratch database of a restore drill, so it is not dropped")
        if "namespace" in payload:
            booting.remove(payload, ctx)
            return
        for _ in ctx.undo_attempts():
            with _server(ctx) as server:
                is_there = server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            if is_there:
                return


@contextmanager
def _server(ctx: CheckContext) -> Iterator[psycopg.Connection]:
    with ctx.clients.scratch_server(statement_timeout=max(1.0, ctx.remaining())) as connection:
        yield connection


@contextmanager
def _phase(what: str, ctx: CheckContext) -> Iterator[None]:
    """Tell the person who waits what is done now, and name it in the error when the time is up meanwhile."""
    ctx.progress(what)
    try:
        yield
    except ClientError as exc:
        if ctx.remaining() > 0 or ctx.cancelled.is_set():
            raise
        raise CheckError(
            f"the time for the check was up while {what}",
            hint="Set a longer `timeout` for it in the checklist.",
            seen=exc.seen or exc.summary,
        ) from exc


def _download(ctx: CheckContext, params: RestoreDrillParams, bucket: str, key: str, path: Path) -> None:
    """Raises _BadBackup for one that is of another environment or too old, before any of it is read."""
    with s3_errors(f"read {PurePosixPath(key).name}"), path.open("wb") as file:
        dump = ctx.clients.s3().get_object(Bucket=bucket, Key=key)
        body = dump["Body"]
        whose, own_environment = environment_of(ctx.target, params.environment), dump["Metadata"].get("environment", "")
        if own_environment != whose:
            raise _BadBackup(
                f"{key}: metadata environment is {own_environment or 'not set'}, not {whose}, so it is not restored",
                hint="Data of one environment doesn't belong in another. Run the check that finds the backup again.",
            )
        age = datetime.now(UTC) - made_at(dump["Metadata"], dump["LastModified"])
        if age > timedelta(hours=params.max_age_hours):
            raise _BadBackup(
                f"{key} is {age / timedelta(hours=1):.0f} hours old; at most {params.max_age_hours:g} are allowed",
                hint="Run the check that finds the backup again.",
            )
        while chunk := body.read(CHUNK):
            file.write(chunk)
            ctx.wait(0)


def _pg_restore(server: psycopg.Connection) -> Path:
    major = server.info.server_version // 10_000
    return pg_tools.find("pg_restore", major=major if major <= OWN_VERSION_UNTIL else None)


def _restore(ctx: CheckContext, program: Path, dump: Path, database: str) -> None:
    url = require(ctx.target.restore_database_url, ctx.target, "restore_database_url").get_secret_value()
    settings: dict[str, Any] = conninfo_to_dict(url, dbname=database)
    password = settings.pop("password", None)  # by environment: a command line can be read by every process
    _run(
        ctx,
        [program, "--no-owner", "--no-acl", "--exit-on-error", "--dbname", make_conninfo(**settings), dump],
        "restore the dump",
        {"PGPASSWORD": str(password)} if password else {},
    )


def _run(
    ctx: CheckContext, command: Sequence[str | Path], what: str, environment: Mapping[str, str] | None = None
) -> None:
    """Run pg_restore to its end. Raises _BadBackup when it fails, CheckError when it is cancelled or takes too long."""
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "PGCONNECT_TIMEOUT": "5",
        **(environment or {}),
    }
    process = subprocess.Popen(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            stderr = _wait(ctx, process)
        except CheckError:
            process.kill()
            raise
    if process.returncode:
        raise _failure(what, stderr.strip())


def _wait(ctx: CheckContext, process: subprocess.Popen[str]) -> str:
    """What the process said on stderr, once it has ended."""
    while True:
        ctx.wait(0)
        try:
            return process.communicate(timeout=POLL)[1]
        except subprocess.TimeoutExpired:
            continue


def _failure(what: str, stderr: str) -> _BadBackup | CheckError:
    role = NO_ROLE.search(stderr)
    if role:
        return _BadBackup(
            f"cannot restore: role {role[1]} is missing on the restore server",
            hint="Create the product's roles there first: policies in the dump name them.",
            seen=stderr,
        )
    if TOO_NEW.search(stderr):
        return CheckError(
            "the dump was made by a newer pg_dump than the bot's pg_restore",
            hint="Install the PostgreSQL client programs of the version that makes the backups.",
            seen=stderr,
        )
    lines = stderr.splitlines()
    line = next((line for line in lines if "error:" in line), lines[0] if lines else "no message")
    return _BadBackup(f"cannot {what}: {line}", hint="Is the object complete? Run the backup again.", seen=stderr)


def _create(server: psycopg.Connection, name: str, change: Change) -> None:
    """``change`` says whether the server may still be at it: the connection was lost before it had answered."""
    change.outcome_unknown = True
    try:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    except errors.InsufficientPrivilege as exc:
        raise CheckError(
            f"role {server.info.user} can't create a scratch database: {exc.diag.message_primary}",
            hint=f"ALTER ROLE {server.info.user} CREATEDB on the server of restore_database_url.",
        ) from exc
    finally:
        change.outcome_unknown = server.broken


def _verify(ctx: CheckContext, params: RestoreDrillParams, database: str) -> list[str]:
    """What holds in the restored database, one phrase each. Raises _BadBackup for what does not."""
    facts = []
    with ctx.clients.scratch_server(database, statement_timeout=max(1.0, ctx.remaining())) as connection:
        for function in params.functions:
            ctx.wait(0)
            try:
                result = verification.call(connection, function)
            except (errors.UndefinedFunction, errors.InvalidSchemaName) as exc:
                raise _BadBackup(
                    f"{function}() is not in the backup", hint="Is this the backup of that product?"
                ) from exc
            bad_rows = result.refused(("PASS",))
            if bad_rows or not result.rows:
                names = ", ".join(f"{row.name} {row.status}" for row in bad_rows) or "0 rows"
                raise _BadBackup(
                    f"after the restore {function}() says {names}", hint="See the rows.", seen=result.table
                )
            facts.append(f"{function}() {len(result.rows)} rows, {result.counts()}")
        for table, least in params.counts.items():
            ctx.wait(0)
            number = _count(connection, table)
            if number < least:
                raise _BadBackup(
                    f"{table} has {number} rows after the restore, at least {least} expected",
                    hint="Was the right database backed up?",
                )
            facts.append(f"{table} {number} rows")
    return facts


def _count(connection: psycopg.Connection, table: str) -> int:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
    try:
        row = connection.execute(query).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName) as exc:
        raise _BadBackup(f"table {table} is not in the backup", hint="Is this the backup of that product?") from exc
    return int(row[0]) if row else 0
