"""Ten thousand releases and a million rows of the record: `/release status` and `/release history` in the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.figure import Figure, percentile
from bot.app import load_checklist
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
    """Fill the tables, then ask as the commands do."""
    with EmbeddedPostgres(folder / "postgres", durable=False) as url:
        store = Store(url, size=4)
        store.open()
        migrate(store)
        begun = time.monotonic()
        _fill(url, store)
        print(f"filled in {time.monotonic() - begun:.0f} s")
        now = datetime.now(UTC)

        def status(tx: Tx) -> None:
            found = releases.active(tx, ENVIRONMENT) or releases.latest(tx, ENVIRONMENT)
            assert found is not None
            assert releases.view(tx, found.id, now) is not None

        figures = [
            Figure("/release status, 95th percentile", _milliseconds(store, status), 50.0, "ms"),
            Figure(
                "/release status of an old version, 95th percentile",
                _milliseconds(store, lambda tx: releases.latest(tx, ENVIRONMENT, "v1.77.0")),
                50.0,
                "ms",
            ),
            Figure("/release history", _milliseconds(store, lambda tx: releases.history(tx, ENVIRONMENT)), 50.0, "ms"),
            Figure(
                "one more row of the record",
                _milliseconds(store, lambda tx: audit.write(tx, now, "system", "bench", None)),
                50.0,
                "ms",
            ),
        ]
        store.close()
    return figures


def _milliseconds(store: Store, ask: Callable[[Tx], object]) -> float:
    took = []
    for _ in range(TIMES):
        with store.transaction() as tx:
            begun = time.perf_counter()
            ask(tx)
            took.append((time.perf_counter() - begun) * 1000)
    return percentile(took, 0.95)


def _fill(url: str, store: Store) -> None:
    """Releases with their checks, results, posts and sign-offs, and a long record; the last release is open."""
    checklist = load_checklist("solvereign", Registry.load())
    first = {
        "environment": ENVIRONMENT, "version": "v0.0.1", "manager": "U0RITA0001", "notes_url": "", "commit": "c" * 40,
        "image": "ghcr.io/x/y", "digest": "sha256:" + "a" * 64, "channel": "C0RELEASES1", "tagged": True, "at": datetime.now(UTC),
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
            {"last": RELEASES, "first": first_id},
        )
        connection.execute(
            "INSERT INTO check_runs (release_id, check_id, running, requested_by, requested_at)"
            " SELECT id, unnest(%s::text[]), 'idle', manager, started_at FROM releases",
            [[check.id for check in checklist.asked]],
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
            {"rows": AUDIT_ROWS, "releases": RELEASES},
        )
        connection.execute("VACUUM ANALYZE")
