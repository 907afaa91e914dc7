"""migrations_declared: what the new migrations of a release say of themselves, as GitHub has them."""

import base64

import pytest

from checks.contract import Answer, Outcome, Subject
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, Route
from tests.fix_checks import run, staging_target

FOLDER = "/repos/o/r/contents/backend_py/db/migrations"
COMMIT = "c0ffee" * 6 + "c0ff"
OLD = {"001_one.sql": "-- as old as the product"}
ADDITIVE, BREAKING = "-- Why\n-- migration: additive\nSELECT 1;", "-- migration: Breaking\nDROP TABLE a;"
TAGS = ["v0.9.0", "v1.0.0", "v1.1.0-rc1", "v1.1.0"]


def repository(**refs: dict[str, str]) -> dict[str, Route]:
    """A GitHub with tags, and with these files at each ref (``v1.0.0`` as v1_0_0, COMMIT as ``head``)."""
    files = {COMMIT if ref == "head" else ref.replace("_", "."): there for ref, there in refs.items()}

    def listing(request: Request) -> Reply:
        (ref,) = request.query["ref"]
        there = files.get(ref)
        if there is None:
            return Reply(404, {"message": "No commit found for the ref"})
        return Reply(200, [{"name": name, "type": "file", "sha": str(hash(text))} for name, text in there.items()])

    def one(name: str) -> Route:
        def answer(request: Request) -> Reply:
            text = files[request.query["ref"][0]][name]
            return Reply(200, {"encoding": "base64", "content": base64.encodebytes(text.encode()).decode()})

        return answer

    tags = [{"ref": f"refs/tags/{name}"} for name in TAGS]
    routes: dict[str, Route] = {
        "GET /repos/o/r/git/matching-refs/tags/v": Reply(200, tags),
        f"GET {FOLDER}": listing,
    }
    return routes | {f"GET {FOLDER}/{name}": one(name) for there in files.values() for name in there}


def ask(routes: dict[str, Route], *, version: str = "v1.1.0", previous: str = "") -> Answer:
    """Run the check for a release of COMMIT."""
    with Replies(routes) as server:
        part = {"url": server.url, "repository": "o/r"}
        target = Target.model_validate({"name": "staging", "github": part})
        return run("migrations_declared", {}, target, subject=Subject(version, COMMIT, previous=previous)).answer


def test_each_new_migration_is_listed_with_its_declaration() -> None:
    """New migrations are listed in the order in which they are applied; old ones need no declaration."""
    new = {"003_b.sql": BREAKING, "002_a.sql": ADDITIVE, "README.md": "nothing"}
    answer = ask(repository(v1_0_0=OLD, head={**OLD, **new}))
    assert (answer.outcome, answer.summary) == (
        Outcome.PASS,
        "2 new migrations since v1.0.0: 003_b.sql is breaking, the others additive",
    )
    assert answer.evidence.attachment.splitlines() == ["002_a.sql: additive", "003_b.sql: breaking"]


def test_additive_migrations_are_named_too() -> None:
    """A release with additive migrations only names them as well."""
    answer = ask(repository(v1_0_0=OLD, head={**OLD, "002_a.sql": ADDITIVE}))
    assert (answer.outcome, answer.summary) == (
        Outcome.PASS,
        "1 new migration since v1.0.0: 002_a.sql is additive",
    )


def test_a_release_without_new_migrations_passes() -> None:
    """Without new migrations there is nothing to declare."""
    answer = ask(repository(v1_0_0=OLD, head=OLD))
    assert (answer.outcome, answer.summary) == (Outcome.PASS, "no new migration since v1.0.0")


@pytest.mark.parametrize("text", ["SELECT 1;", "-- migration: harmless\n", "\n" * 2_001 + ADDITIVE])
def test_a_migration_without_a_declaration_fails(text: str) -> None:
    """The file is named with a hint; an unknown word and a declaration far down do not count."""
    answer = ask(repository(v1_0_0=OLD, head={**OLD, "002_a.sql": ADDITIVE, "003_b.sql": text}))
    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "003_b.sql doesn't declare what it does")
    assert "-- migration: additive" in answer.hint
    assert answer.evidence.attachment.splitlines() == ["002_a.sql: additive", "003_b.sql: declares nothing"]


def test_a_migration_that_was_changed_later_fails() -> None:
    """A file that was changed after its release is not the one that production has."""
    answer = ask(repository(v1_0_0=OLD, head={"001_one.sql": ADDITIVE}))
    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "001_one.sql was changed after its release")


@pytest.mark.parametrize(("previous", "since"), [("v0.9.0", "v0.9.0"), ("v1.1.0-rc1", "v1.0.0"), ("", "v1.0.0")])
def test_migrations_are_new_since_the_deployed_release(previous: str, since: str) -> None:
    """As in the step `migrate`, tags that were never deployed and candidates of the same version do not count."""
    there = repository(v0_9_0={}, v1_0_0=OLD, head=OLD)
    assert f"since {since}" in ask(there, previous=previous).evidence.asked


def test_in_the_first_release_all_migrations_are_new() -> None:
    """Without an earlier release every file needs a declaration."""
    answer = ask(repository(head=OLD), version="v0.9.0")
    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "001_one.sql doesn't declare what it does")


def test_without_a_release_the_check_is_an_error(sandbox) -> None:
    """Without a version there is nothing to compare."""
    assert run("migrations_declared", {}, staging_target(sandbox)).outcome is Outcome.ERROR
