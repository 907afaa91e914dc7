"""PostgreSQL: a connection with time limits, and its errors by SQLSTATE."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from clients.errors import ClientError, first_line
from clients.http import CONNECT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

LOCK_TIMEOUT = 5.0  # seconds a statement may wait for somebody else's lock


def connect(url: str, *, database: str = "", read_only: bool, statement_timeout: float) -> psycopg.Connection:
    """A connection to ``url``, or to another ``database`` of its server. ``statement_timeout``: seconds."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    settings = conninfo_to_dict(url, application_name="release-bot", connect_timeout=int(CONNECT_TIMEOUT))
    limits = {
        "default_transaction_read_only": "on" if read_only else "off",
        "statement_timeout": int(statement_timeout * 1000),
        "lock_timeout": int(LOCK_TIMEOUT * 1000),
    }
    own = " ".join(f"-c {name}={value}" for name, value in limits.items())
    settings["options"] = f"{settings.get('options') or ''} {own}".strip()
    if database:
        settings["dbname"] = database
    return psycopg.connect(**settings)  # type: ignore[arg-type]  # the keywords of libpq


@contextmanager
def postgres_errors(what: str) -> Iterator[None]:
    """Translate psycopg errors by SQLSTATE; ``what`` completes "cannot …"."""
    import psycopg
    from psycopg import errors

    try:
        yield
    except errors.InsufficientPrivilege as exc:
        raise ClientError(
            f"cannot {what}: {exc.diag.message_primary}", hint="Grant this right to the role in database_url."
        ) from exc
    except (errors.QueryCanceled, errors.LockNotAvailable) as exc:
        raise ClientError(
            f"cannot {what}: {exc.diag.message_primary}",
            hint="The database is slow or locked: see pg_stat_activity.",
        ) from exc
    except psycopg.OperationalError as exc:
        raise ClientError(
            f"cannot {what}: {first_line(exc)}",
            hint="Is the database up, and is database_url right?",
            outcome_unknown=True,
        ) from exc
    except psycopg.Error as exc:
        raise ClientError(
            f"cannot {what}: {first_line(exc)}", hint=f"SQLSTATE {exc.sqlstate}." if exc.sqlstate else ""
        ) from exc
