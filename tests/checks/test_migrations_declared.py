"""migrations_declared: what the new migrations of a release say of themselves, as GitHub has them."""

import base64

import pytest

from checks.contract import Answer, Outcome, Subject
from clients.target import Target
from tests.checks.replies import Answering, Replies, Reply, Request
from tests.fix_checks import run, staging_target

FOLDER = "/repos/o/r/contents/backend_py/db/migrations"
COMMIT = "c0ffee" * 6 + "c0ff"
OLD = {"001_one.sql": "-- as old as the product"}
ADDITIVE, BREAKING = "-- Why\n-- migration: additive\nSELECT 1;", "-- migration: Breaking\nDROP TABLE a;"
TAGS = ["v0.9.0", "v1.0.0", "v1.1.0-rc1", "v1.1.0"]


def repository(**refs: dict[str, str]) -> dict[str, Answering]:
    """GitHub with tags, and at each ref (``v1.0.0`` as v1_0_0, ``head``: COMMIT) these files in the folder."""
    files = {COMMIT if ref == "head" else ref.replace("_", "."): there for ref, there in refs.items()}

    def listing(request: Request) -> Reply:
        (ref,) = request.query["ref"]
        there = files.get(ref)
        if there is None:
            return Reply(404, {"message": "No commit found for the ref"})
        return Reply(200, [{"name": name, "type": "file", "sha": str(hash(text))} for name, text in there.items()])

    def one(name: str) -> Answering:
        def answer(request: Request) -> Reply:
            text = files[request.query["ref"][0]][name]
            return Reply(200, {"encoding": "base64", "content": base64.encodebytes(text.encode()).decode()})

        return answer

    tags = [{"ref": f"refs/tags/{name}"} for name in TAGS]
    answers: dict[str, Answering] = {
        "GET /repos/o/r/git/matching-refs/tags/v": Reply(200, tags),
        f"GET {FOLDER}": listing,
    }
    return answers | {f"GET {FOLDER}/{name}": one(name) for there in files.values() for name in there}


def ask(answers: dict[str, Answering], *, version: str = "v1.1.0", previous: str = "") -> Answer:
    """Ask of a release of COMMIT."""
    with Replies(answers) as server:
        part = {"url": server.url, "repository": "o/r"}
        target = Target.model_validate({"name": "staging", "github": part})
        return run("migrations_declared", {}, target, subject=Subject(version, COMMIT, previous=previous)).answer


def test_each_new_one_is_listed_with_what_it_declares() -> None:
    """In the order in which they are applied; an old one need not say anything."""
    new = {"003_b.sql": BREAKING, "002_a.sql": ADDITIVE, "README.md": "nothing"}
    answer = ask(repository(v1_0_0=OLD, head={**OLD, **new}))
    assert (answer.outcome, answer.summary) == (
        Outcome.PASS,
        "2 new migrations since v1.0.0: 003_b.sql is breaking, the others additive",
    )
    assert answer.evidence.attachment.splitlines() == ["002_a.sql: additive", "003_b.sql: breaking"]


def test_all_additive() -> None:
    """They are named all the same."""
    answer = ask(repository(v1_0_0=OLD, head={**OLD, "002_a.sql": ADDITIVE}))
    assert (answer.outcome, answer.summary) == (
        Outcome.PASS,
        "1 new migration since v1.0.0: 002_a.sql is additive",
    )


def test_none_is_new() -> None:
    """Then there is nothing to declare."""
    answer = ask(repository(v1_0_0=OLD, head=OLD))
    assert (answer.outcome, answer.summary) == (Outcome.PASS, "no new migration since v1.0.0")


@pytest.mark.parametrize("text", ["SELECT 1;", "-- migration: harmless\n", "\n" * 2_001 + ADDITIVE])
def test_one_that_does_not_say(text: str) -> None:
    """Named, with what to write; a word that nobody knows and one far down in the file say nothing."""
    answer = ask(repository(v1_0_0=OLD, head={**OLD, "002_a.sql": ADDITIVE, "003_b.sql": text}))
    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "003_b.sql does not say what it does")
    assert "-- migration: additive" in answer.hint
    assert answer.evidence.attachment.splitlines() == ["002_a.sql: additive", "003_b.sql: declares nothing"]


def test_one_that_was_changed_after_its_release() -> None:
    """Production has the other one, whatever this one declares."""
    answer = ask(repository(v1_0_0=OLD, head={"001_one.sql": ADDITIVE}))
    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "001_one.sql was changed after it had been released")


@pytest.mark.parametrize(("previous", "since"), [("v0.9.0", "v0.9.0"), ("v1.1.0-rc1", "v1.0.0"), ("", "v1.0.0")])
def test_since_what_was_deployed(previous: str, since: str) -> None:
    """As the step `migrate` counts: a tag that was never deployed is no release before; nor is a candidate of this one."""
    there = repository(v0_9_0={}, v1_0_0=OLD, head=OLD)
    assert f"since {since}" in ask(there, previous=previous).evidence.asked


def test_the_first_release() -> None:
    """All are new."""
    answer = ask(repository(head=OLD), version="v0.9.0")
    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "001_one.sql does not say what it does")


def test_of_no_release(sandbox) -> None:
    """From a terminal without a version there is nothing to compare."""
    assert run("migrations_declared", {}, staging_target(sandbox)).outcome is Outcome.ERROR
