"""repo_file: what a file on the default branch says of the version."""

import base64

import pytest

from checks.contract import Outcome, Subject
from clients.target import Target
from tests.checks.replies import Replies, Reply
from tests.fix_checks import run, staging_target

STATUS = {"path": "claude.md", "text": "Status: V{bare}"}


def ask(reply: Reply, params=STATUS, version: str = "v4.8.0"):
    """Run the check on a repository that answers like this for the file."""
    with Replies({"GET /repos/o/r/contents/claude.md": reply}) as server:
        part = {"url": server.url, "repository": "o/r"}
        target = Target.model_validate({"name": "production", "github": part})
        return run("repo_file", params, target, subject=Subject(version, "c0ffee")).answer


def file(text: str) -> Reply:
    """A file as GitHub sends it."""
    return Reply(200, {"encoding": "base64", "content": base64.encodebytes(text.encode()).decode()})


@pytest.mark.parametrize(
    ("text", "params", "outcome", "summary"),
    [
        ("# Title\nStatus: V4.8.0 | green", STATUS, Outcome.PASS, "claude.md contains Status: V4.8.0"),
        ("status: v4.8.0", STATUS, Outcome.PASS, "claude.md contains Status: V4.8.0"),
        ("Now v4.8.0.", {"path": "claude.md", "text": "{version}"}, Outcome.PASS, "claude.md contains v4.8.0"),
        ("## [4.8.0] - today", {"path": "claude.md", "text": "[{bare}]"}, Outcome.PASS, "claude.md contains [4.8.0]"),
        (
            "Status: V4.5.1 | old",
            STATUS,
            Outcome.FAIL,
            "claude.md doesn't contain Status: V4.8.0, but: Status: V4.5.1 | old",
        ),
        ("Status: V4.8.01", STATUS, Outcome.FAIL, "claude.md doesn't contain Status: V4.8.0, but: Status: V4.8.01"),
        (
            "Status: V4.8.0-rc1",
            STATUS,
            Outcome.FAIL,
            "claude.md doesn't contain Status: V4.8.0, but: Status: V4.8.0-rc1",
        ),
        ("Status: V4.8.0.1", STATUS, Outcome.FAIL, "claude.md doesn't contain Status: V4.8.0, but: Status: V4.8.0.1"),
        ("nothing", STATUS, Outcome.FAIL, "claude.md doesn't contain Status: V4.8.0"),
    ],
)
def test_the_file_has_to_name_the_exact_version(text, params, outcome, summary):
    """The summary says which text was found, or what is there instead."""
    answer = ask(file(text), params)

    assert (answer.outcome, answer.summary) == (outcome, summary)


def test_a_missing_file_fails():
    """GitHub is case-sensitive, so that a file under another name is missing."""
    answer = ask(Reply(404, {"message": "Not Found"}))

    assert (answer.outcome, answer.summary) == (Outcome.FAIL, "there is no claude.md")


@pytest.mark.parametrize(
    ("reply", "version"),
    [(Reply(200, [{"type": "file"}]), "v4.8.0"), (Reply(503, ""), "v4.8.0"), (file("Status: V4.8.0"), "")],
    ids=["a folder", "down", "no release"],
)
def test_what_cannot_be_read_is_an_error(reply, version):
    """A folder, a GitHub that is down and a missing release are ERRORs."""
    assert ask(reply, version=version).outcome is Outcome.ERROR


def test_the_sandbox_names_the_candidate(sandbox):
    """The documents in the sandbox name the candidate and no other version."""
    for version, outcome in (("v4.8.0", Outcome.PASS), ("v4.9.0", Outcome.FAIL)):
        result = run("repo_file", STATUS, staging_target(sandbox), subject=Subject(version, "c0ffee"))
        assert result.outcome is outcome
