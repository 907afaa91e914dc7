"""Step `migrate`: by the product's own Job, else each new .sql file in one transaction with its row in schema_migrations."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from bot.errors import Contradicted, NoAnswer, StepError, Superseded
from bot.steps import job
from bot.steps.migrations import mutations, new_files
from clients.errors import ClientError, first_line
from clients.needs import READ_CONTENTS, Changes, Need, OptionalSetting, in_schema, on_table

if TYPE_CHECKING:
    import psycopg

    from bot.domain.actions import Migrate
    from bot.domain.plan import Mutation
    from bot.steps.contract import StepContext, StepInspection
    from bot.steps.sqlfile import Migration

ALONE = 1919051118  # advisory lock: one migration at a time
SILENCE = 3.0  # seconds past the deadline that the server has for an answer
CHECKS_CLIENTS = 140_000  # version of the server that has client_connection_check_interval
LEAST = 1.0  # seconds for a read after the deadline


def needs(spec: Migrate) -> tuple[Need, ...]:
    """What the step needs: the files, and a Job in the cluster or the product's database as the role that may change it."""
    if spec.job is not None:
        return (Changes("database"), READ_CONTENTS, *job.rights(), OptionalSetting("database_url"))
    rows = (*in_schema("public", "CREATE"), *on_table("schema_migrations", "SELECT", "INSERT"))
    return (Changes("database"), READ_CONTENTS, *(replace(right, setting="migrate_database_url") for right in rows))


def preview(spec: Migrate, inspection: StepInspection) -> list[Mutation]:
    """Return a change for each file that is to be applied. Raises StepError for one that cannot be, or declares nothing."""
    if spec.job is not None:
        return job.preview(spec, inspection)
    return mutations(_pending(spec, inspection), inspection.target.name)


def _pending(spec: Migrate, inspection: StepInspection) -> list[Migration]:
    """Return the new files that are not applied on the target, by name and checksum."""
    pending = _missing_files(
        inspection, new_files(inspection, spec.files), inspection.retry_read(lambda: _read_applied(inspection))
    )
    for file in pending:
        file.body  # noqa: B018  refuses what cannot be carried out in one transaction before anything happens
    return pending


def _missing_files(
    inspection: StepInspection, files: Sequence[Migration], checksums: Mapping[str, str]
) -> list[Migration]:
    """Return the ``files`` that are not applied, by the ``checksums`` of those that are. Raises Contradicted if a content differs."""
    changed_files = [file.name for file in files if checksums.get(file.name, file.checksum) != file.checksum]
    if changed_files:
        raise Contradicted(
            f"{inspection.target.name} has {changed_files[0]} with another content",
            hint="Find out who applied it, and what it was.",
        )
    return [file for file in files if file.name not in checksums]


def confirm(spec: Migrate, inspection: StepInspection) -> str:
    """Confirm that all new files are applied, by a complete Job or the product's own table of migrations.

    Raises Contradicted with the missing files, or while a Job of the release runs.
    """
    files = new_files(inspection, spec.files)
    if not files:
        return "nothing to apply"
    if spec.job is None:
        checksums = inspection.retry_read(lambda: _read_applied(inspection))
    elif name := job.find_complete_job(inspection):
        return f"job/{name} is complete"
    else:
        checksums = _read_recorded(inspection)
    if missing_names := ", ".join(file.name for file in _missing_files(inspection, files, checksums)):
        raise Contradicted(
            f"schema_migrations of {inspection.target.name} does not have {missing_names}",
            hint="Apply it the way the product does, which records it, or retry the step.",
        )
    return f"{inspection.target.name} has {', '.join(file.name for file in files)}"


def _read_recorded(inspection: StepInspection) -> dict[str, str]:
    """Return the checksums of the applied files, read by the role of checks: with a Job no other one need be configured."""
    try:
        with inspection.clients.postgres() as connection:
            checksums = _applied_checksums(inspection, connection)
    except ClientError as error:
        raise StepError(f"no Job of this release is complete, and {error.summary}", hint=error.hint) from error
    if not checksums:
        raise StepError(f"no Job of this release is complete, and {inspection.target.name} doesn't record its files")
    return checksums


def _read_applied(inspection: StepInspection) -> dict[str, str]:
    """Return the checksums of the applied files. Raises NoAnswer if the connection breaks, StepError if the server refuses."""
    import psycopg

    try:
        with _connection(inspection) as connection:
            return _applied_checksums(inspection, connection)
    except psycopg.OperationalError as error:
        raise NoAnswer(f"the database of {inspection.target.name} does not answer: {first_line(error)}") from error
    except psycopg.Error as error:
        raise StepError(
            f"{inspection.target.name} doesn't show what is applied: {first_line(error)}",
            hint="Is schema_migrations there the product's own table?",
        ) from error


def _applied_checksums(inspection: StepInspection, connection: psycopg.Connection) -> dict[str, str]:
    """Return the checksum of each applied file by its name, as the product's own table has them."""
    from psycopg import errors

    query = "SELECT file_name, checksum FROM schema_migrations WHERE version LIKE 'file:%' AND file_name IS NOT NULL"
    try:
        return {str(name): str(checksum) for name, checksum in connection.execute(query).fetchall()}
    except errors.UndefinedTable as error:
        raise StepError(
            f"{inspection.target.name} has no table schema_migrations", hint="Is this the product's database?"
        ) from error


def apply(spec: Migrate, ctx: StepContext) -> str:
    """Apply the pending files, one transaction each, and return their names in a line; after a crash the rest is applied."""
    if spec.job is not None:
        return job.run(spec, ctx)
    pending = _pending(spec, ctx)
    changes: Sequence[Mutation] = mutations(pending, ctx.target.name)
    for file, change in zip(pending, changes, strict=True):
        ctx.journal.show_progress(f"applying {file.name}")
        ctx.journal.record_intent([change])
        try:
            _apply(spec, ctx, file)
        except (Superseded, NoAnswer):
            raise
        except StepError:
            ctx.journal.record_refusal([change])
            raise
        ctx.journal.record_action(changes=[change.body], file=file.name, checksum=file.checksum)
    if pending_still := _pending(spec, ctx):
        raise StepError(
            f"{pending_still[0].name} is not applied, although no error was reported", hint="Retry the step."
        )
    names = ", ".join(file.name for file in pending)
    return f"applied {names}" if names else "nothing to apply"


def _apply(spec: Migrate, ctx: StepContext, file: Migration) -> None:
    """Apply one file and insert its row. If the connection breaks, look whether the file was applied.

    Raises NoAnswer if it was not, as far as can be seen so soon, and StepError if the server refused it.
    """
    import psycopg
    from psycopg import errors

    try:
        with _connection(ctx, lock_timeout=spec.lock_timeout) as connection:
            connection.add_notice_handler(
                lambda notice: ctx.journal.show_progress(f"{file.name}: {notice.message_primary}")
            )
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [ALONE])
            if file.name in _applied_checksums(ctx, connection):
                return  # somebody else, or this step before a crash
            connection.execute(file.body.encode())
            connection.execute(
                "INSERT INTO schema_migrations (version, description, checksum, file_name) VALUES (%s, %s, %s, %s)",
                [file.version, "applied by release-bot", file.checksum, file.name],
            )
    except errors.QueryCanceled as error:
        if ctx.cancelled.is_set():
            raise Superseded from error
        raise StepError(
            f"{file.name} took too long and was stopped; it is not applied", hint="Retry at a quiet hour."
        ) from error
    except errors.LockNotAvailable as error:
        raise StepError(
            f"{file.name} waited {spec.lock_timeout:g} s for a lock and was stopped; it is not applied",
            hint="Retry at a quiet hour.",
        ) from error
    except psycopg.OperationalError as error:
        ctx.journal.record_observation(trouble=first_line(error))
        if file.name not in ctx.retry_read(lambda: _read_applied(ctx)):
            raise NoAnswer(f"{file.name} is not applied: {first_line(error)}", hint="Retry the step.") from error
    except psycopg.Error as error:
        where = f" at: {error.diag.context}" if error.diag.context else ""
        raise StepError(
            f"{file.name} is not applied: {first_line(error)}{where}",
            hint="Nothing of this file was kept. Fix it, then retry.",
        ) from error


@contextmanager
def _connection(inspection: StepInspection, *, lock_timeout: float = 10) -> Iterator[psycopg.Connection]:
    """Open a connection with one transaction, as the role that may change the schema. Raises StepError, and NoAnswer."""
    import psycopg
    from psycopg import errors

    milliseconds = int(max(LEAST, inspection.deadline - time.monotonic()) * 1000)
    limits = f"-c lock_timeout={int(lock_timeout * 1000)} -c statement_timeout={milliseconds}"
    try:
        connection = inspection.clients.migrate_server(options=limits)
    except psycopg.OperationalError as error:
        raise NoAnswer(f"the database of {inspection.target.name} does not answer: {first_line(error)}") from error
    try:
        # A server that is not heard of any more must not hold the step: neither with a statement nor with the commit.
        with closing(connection), _watchdog(inspection, connection), connection.transaction():
            _end_with_us(connection)
            yield connection
    except errors.InsufficientPrivilege as error:
        raise StepError(
            f"the role of migrate_database_url isn't allowed to do that: {error.diag.message_primary}",
            hint="Use the role that owns the product's schema.",
        ) from error


def _end_with_us(connection: psycopg.Connection) -> None:
    """Have the server end the statement when this process dies; else it would keep its locks until the statement is done.

    PostgreSQL can do that since 14, except on platforms without POLLRDHUP, where the statement ends by its own limit.
    """
    from psycopg import errors

    if connection.info.server_version >= CHECKS_CLIENTS:
        with suppress(errors.InvalidParameterValue), connection.transaction():
            connection.execute("SET LOCAL client_connection_check_interval = '1s'")


@contextmanager
def _watchdog(inspection: StepInspection, connection: psycopg.Connection) -> Iterator[None]:
    """Cancel the statement when the step is to stop, and close the connection if the server does not answer that.

    The server ends a statement at the deadline by itself, so silence after that means that the link is broken.
    """
    import psycopg

    over = threading.Event()

    def watch() -> None:
        hang_up_at, is_cancelled = max(inspection.deadline, time.monotonic()) + SILENCE, False
        while not over.wait(0.5):
            if inspection.cancelled.is_set() and not is_cancelled:
                is_cancelled, hang_up_at = True, min(hang_up_at, time.monotonic() + SILENCE)
                with suppress(psycopg.OperationalError):  # it does not answer that either
                    connection.cancel_safe(timeout=SILENCE)
            if time.monotonic() > hang_up_at:
                with socket.socket(fileno=os.dup(connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)  # whoever waits at it hears of the end
                return

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
