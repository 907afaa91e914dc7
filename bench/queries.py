"""Ten thousand releases and a million rows of the record: `/release status` and `/release history` in the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.figure import Figure, percentile
from bot.app import load_checklist
from bot.domain.events import FreezeLifted
from bot.domain.policy import Policy
from bot.store import audit, releases
from bot.store.embedded import EmbeddedPostgres
from bot.store.migrate import migrate
from bot.store.pool import Store, Tx
from checks.registry import Registry

RELEASES, AUDIT_ROWS = 10_000, 1_000_000
TIMES = 50
ENVIRONMENT = "production"


def measure(folder: Path) -> list[Figure]:
    """Fill a database of its own, then ask as the commands do."""
    with EmbeddedPostgres(folder / "postgres", durable=False) as url:
        return measure_database(url, releases_total=RELEASES, audit_rows=AUDIT_ROWS)


def measure_database(url: str, *, releases_total: int, audit_rows: int) -> list[Figure]:
    """Fill the empty database at ``url`` with so many releases and rows of the record, then ask as the commands do."""
    store = Store(url, size=4)
    store.open()
    try:
        migrate(store)
        start = time.monotonic()
        _fill(url, store, releases_total, audit_rows)
        print(f"filled in {time.monotonic() - start:.0f} s")
        return _ask(store)
    finally:
        store.close()


def _ask(store: Store) -> list[Figure]:
    now = datetime.now(UTC)

    def status(tx: Tx) -> None:
        release = releases.active(tx, ENVIRONMENT) or releases.latest(tx, ENVIRONMENT)
        assert release is not None
        assert releases.view(tx, release.id, now) is not None

    questions: dict[str, Callable[[Tx], object]] = {
        "/release status, 95th percentile": status,
        "/release status of an old version, 95th percentile": lambda tx: releases.latest(tx, ENVIRONMENT, "v1.77.0"),
        "/release history": lambda tx: releases.history(tx, ENVIRONMENT),
        "one more row of the record": lambda tx: audit.append(tx, None, FreezeLifted(), now, "system"),
    }
    return [Figure(name, _milliseconds(store, question), 50.0, "ms") for name, question in questions.items()]


def _milliseconds(store: Store, ask: Callable[[Tx], object]) -> float:
    durations = []
    for _ in range(TIMES):
        with store.transaction() as tx:
            start = time.perf_counter()
            ask(tx)
            durations.append((time.perf_counter() - start) * 1000)
    return percentile(durations, 0.95)


def _fill(url: str, store: Store, releases_total: int, audit_rows: int) -> None:
    """Releases with their checks, results, posts and sign-offs, and a long record; the last release is open."""
    checklist = load_checklist("solvereign", Registry.load())
    first = {
        "environment": ENVIRONMENT, "version": "v0.0.1", "manager": "U0RITA0001", "notes_url": "", "commit": "c" * 40,
        "image": "ghcr.io/x/y", "digest": "sha256:" + "a" * 64, "channel": "C0RELEASES1", "tagged": True, "repeat_reason": "",
        "at": datetime.now(UTC),
    }  # fmt: skip
    with store.transaction() as tx:
        first_id = releases.insert(tx, first, checklist, Policy())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE releases SET state = 'DONE', closed_at = now() WHERE id = %s", [first_id])
        connection.execute(
            "INSERT INTO releases (environment, version, state, manager, commit_sha, image, digest, checklist_digest,"
            " policy_digest, channel, started_at)"
            " SELECT environment, format('v%%s.%%s.0', n / 100, n %% 100), CASE WHEN n = %(last)s THEN 'OPEN' ELSE 'DONE' END,"
            " manager, commit_sha, image, digest, checklist_digest, policy_digest, channel,"
            " started_at - make_interval(days => %(last)s - n) FROM releases, generate_series(2, %(last)s) n"
            " WHERE id = %(first)s",
            {"last": releases_total, "first": first_id},
        )
        connection.execute(
            "INSERT INTO check_runs (release_id, check_id, state, requested_by, requested_at)"
            " SELECT id, unnest(%s::text[]), 'idle', manager, started_at FROM releases",
            [[check.id for check in checklist.distinct_checks]],
        )
        connection.execute(
            "INSERT INTO check_results (release_id, check_id, outcome, summary, asked, expected, seen, attachment,"
            " started_at, finished_at, by_whom)"
            " SELECT release_id, check_id, 'PASS', 'well', 'asked', 'expected', 'seen', repeat('row ', 100),"
            " requested_at, requested_at, requested_by FROM check_runs, generate_series(1, 2)"
        )
        connection.execute(
            "INSERT INTO posts (release_id, kind, subject, channel, ts)"
            " SELECT id, 'section', n::text, channel, format('%s.%s', id, n) FROM releases, generate_series(1, 8) n"
        )
        connection.execute(
            "INSERT INTO audit (seq, at, actor, event, release_id, body, previous, hash)"
            " SELECT n, now(), 'system', 'bench', 1 + n %% %(releases)s, '{}', '', md5(n::text)"
            " FROM generate_series(1, %(rows)s) n",
            {"rows": audit_rows, "releases": releases_total},
        )
        connection.execute("VACUUM ANALYZE")
