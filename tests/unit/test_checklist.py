"""Reading a checklist: what is refused, with file, line and key; what the digest is of."""

import textwrap
from datetime import timedelta
from pathlib import Path

import pytest

import bot
from bot.checklists.read import read_checklist
from bot.cli import main
from bot.domain.checklist import Checklist
from bot.domain.ids import CheckId
from bot.errors import ChecklistError
from checks.registry import Registry

GOOD = """\
id: small
title: Small
sections:
  - id: go
    title: Go/No-Go
    gate: true
    checks:
      - id: go.one
        title: One
        kind: sql_verify
      - id: go.two
        title: Two
        kind: sql_verify
        max_age: 90m
        needs: [go.one]
  - id: after
    title: After
    phase: after
    checks:
      - {id: after.notes, title: Notes, kind: attest}
deploy:
  - id: deploy.backend
    title: Deploy
    action: {do: set_image}
rollback:
  - id: rollback.backend
    title: Restore
    action:
      do: restore_backend
      timeout: 60
"""


def parse(text: str) -> Checklist:
    """Read a text as the checklist file list.yml."""
    return read_checklist(text, "list.yml")


def replace_once(old: str, new: str) -> str:
    """The text of GOOD with one part replaced."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_valid_checklist_has_the_documented_defaults() -> None:
    """Values that the file leaves out are those of the reference page."""
    checklist = parse(GOOD)
    one, two = checklist.gate_checks
    assert (one.max_age, two.max_age) == (timedelta(hours=4), timedelta(minutes=90))
    assert (one.target, one.waivable, one.needs) == ("staging", True, ())
    assert [probe.kind for probe in checklist.watch.probes] == ["sentry_quiet"]
    assert [check.id for check in checklist.distinct_checks_in("after")] == ["after.notes"]


def test_the_shipped_checklist_has_ten_checks_that_cannot_be_waived() -> None:
    """The shipped checklist has the ten Go/No-Go checks, and none of them can be waived."""
    path = Path(bot.__path__[0]) / "checklists" / "solvereign.yml"
    checklist = read_checklist(path.read_text(encoding="utf-8"), str(path))
    assert len(checklist.gate_checks) == 10
    assert {check.waivable for check in checklist.gate_checks} == {False}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("        kind: sql_verify\n        max_age", "        max_age", r"list\.yml:11: sections\.0\.checks\.1: a check needs kind"),
        ("max_age: 90m", "same_as: go.one", r"list\.yml:11: sections\.0\.checks\.1: .*: remove kind, needs"),
        ("kind: attest}", "same_as: go.nine}", r"list\.yml:20: sections\.1\.checks\.0\.same_as: .*'go\.nine', which is not"),
        ("kind: attest}", "same_as: after.notes}", r"list\.yml:20: sections\.1\.checks\.0\.same_as: .* is itself a reference"),
        ("kind: attest}", "same_as: go.one}", r"list\.yml:20: sections\.1\.checks\.0\.same_as: go\.one is asked before"),
        ("title: Two", "titel: Two", r"list\.yml:11: sections\.0\.checks\.1\.title: is missing"),
        ("kind: attest}", "kind: attest, x: 1}", r"list\.yml:20: sections\.1\.checks\.0\.x: unknown key"),
        ("max_age: 90m", "max_age: soon", r"list\.yml:14: sections\.0\.checks\.1\.max_age: isn't a duration; write 90s"),
        ("max_age: 90m", "max_age: 0s", r"list\.yml:14: sections\.0\.checks\.1\.max_age: Input should be greater than"),
        ("needs: [go.one]", "needs: [go.nine]", r"list\.yml:15: sections\.0\.checks\.1\.needs: go\.two needs 'go\.nine'"),
        ("id: go.two", "id: go.one", r"list\.yml:11: sections\.0\.checks\.1\.id: the id 'go\.one' is used twice"),
        ("id: rollback.backend", "id: deploy.backend", r"list\.yml:26: rollback\.0\.id: the id 'deploy\.backend' is used twice"),
        ("id: after\n", "id: go\n", r"list\.yml:16: sections\.1\.id: the id 'go' is used twice"),
        ("id: go.two", "id: Go.Two", r"list\.yml:11: sections\.0\.checks\.1\.id: ids are lower-case words"),
        ("gate: true", "gate: false", r"list\.yml:3: sections: no section has gate: true"),
        ("gate: true", "gate: true\n    phase: after", r"list\.yml:7: sections\.0\.phase: what decides Go or No-Go can't run after"),
        ("{do: set_image}", "{do: set_imge}", r"list\.yml:24: deploy\.0\.action: unknown do: 'set_imge', did you mean 'set_image'"),
        ("kind: sql_verify\n        max", "kind: announced\n        max", r"list\.yml:13: sections\.0\.checks\.1\.kind: a rel"),
        ("{do: set_image}", "{do: notify}", r"list\.yml:24: deploy\.0\.action: deploy\.backend: `do: notify` announces the"),
        ("timeout: 60", "timeout: never", r"list\.yml:30: rollback\.0\.action\.timeout: Input should be a valid number"),
        ("gate: true", "gate: true\n    blocks: true", r"list\.yml:7: sections\.0\.blocks: gate: true blocks a deploy already"),
        ("phase: after", "phase: after\n    blocks: true", r"list\.yml:\d+: sections\.1\.blocks: what blocks a deploy can't run"),
        ("phase: after", "phase: [", r"list\.yml:\d+: not valid YAML"),
        ("phase: after", "phase: &a [*a]", r"list\.yml:\d+: not valid YAML: it is nested too deeply"),
        ("title: Small", "title: Sm\x07ll", r"list\.yml:1: not valid YAML"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_key(old: str, new: str, message: str) -> None:
    """An invalid checklist is rejected with file, line and key, so that its author finds the place."""
    with pytest.raises(ChecklistError, match=f"^{message}"):
        parse(replace_once(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Two", "titel: Two", "list.yml:12: sections.0.checks.1.titel: unknown key, did you mean 'title'?"),
        ("gate: true", "gaet: true", "list.yml:6: sections.0.gaet: unknown key, did you mean 'gate'?"),
        ("timeout: 60", "time_out: 60", "list.yml:30: rollback.0.action.time_out: unknown key, did you mean 'timeout'?"),
        ("title: Small", "title: Small\nwach: {}", "list.yml:3: wach: unknown key, did you mean 'watch'?"),
        ("needs: [go.one]", "needs: [go.won]", "which is not in the checklist, did you mean 'go.one'?"),
        ("id: go.two", f"id: go.{'x' * 150}", "an id has at most 150 characters, not 153: buttons carry it"),
        ("  - id: deploy.backend\n    title: Deploy\n    action: {do: set_image}\n", "", "deploy: Input should be a valid tuple"),
        ("title: Two", "title: Two\n        title: Too", "sections.0.checks.1.title: is there twice"),
    ],
)  # fmt: skip
def test_a_likely_mistake_is_named(old: str, new: str, message: str) -> None:
    """A misspelled key, a repeated key and an unusable id are named in the error."""
    with pytest.raises(ChecklistError) as error:
        parse(replace_once(old, new))
    assert message in error.value.user_message


def test_all_errors_are_reported_at_once() -> None:
    """All errors are listed in the order of the file, also those between several lines."""
    with pytest.raises(ChecklistError) as error:
        parse(replace_once("title: Two", "titel: Two").replace("timeout: 60", "timeout: never").replace("90m", "soon"))
    assert [line.split(": ")[0] for line in error.value.user_message.splitlines()] == [
        f"list.yml:{line}" for line in (11, 12, 14, 30)
    ]
    with pytest.raises(ChecklistError) as error:
        parse(replace_once("gate: true", "gate: false").replace("[go.one]", "[go.two, go.nine]"))
    assert [line.split(": ")[0] for line in error.value.user_message.splitlines()] == [
        f"list.yml:{line}" for line in (3, 15, 15)
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: sql_verify\n        max",
            "kind: sql_verfy\n        max",
            "list.yml:13: sections.0.checks.1.kind: unknown kind 'sql_verfy', did you mean 'sql_verify'?",
        ),
        (
            "90m",
            "90m\n        params:\n          function: f\n          row: [1]",
            "list.yml:17: sections.0.checks.1.params.row: unknown parameter row, did you mean 'rows'?",
        ),
        (
            "rollback:\n",
            "watch: {probes: [{id: w, title: W, kind: sentry_quit}]}\nrollback:\n",
            "list.yml:25: watch.probes.0.kind: unknown kind 'sentry_quit', did you mean 'sentry_quiet'?",
        ),
        (
            "rollback:\n",
            "watch: {probes: [{id: w, title: W, kind: sentry_quiet, params: {levels: x}}]}\nrollback:\n",
            "list.yml:25: watch.probes.0.params.levels: unknown parameter levels",
        ),
        (
            "{do: set_image}",
            "{do: check, kind: http_jsn}",
            "list.yml:24: deploy.0.action.kind: unknown kind 'http_jsn', did you mean 'http_json'?",
        ),
    ],
)  # fmt: skip
def test_kinds_and_their_parameters_are_validated(old: str, new: str, message: str) -> None:
    """An unknown kind or parameter of a check, a step or a probe is reported with its own line."""
    with pytest.raises(ChecklistError) as error:
        read_checklist(replace_once(old, new), "list.yml", Registry.load())
    assert message in error.value.user_message


@pytest.mark.parametrize("needs", ["[go.two]", "[go.one]"])
def test_a_circle_of_needs_is_rejected(needs: str) -> None:
    """A check that needs itself, directly or through another check, could never run."""
    with pytest.raises(ChecklistError, match=r"list\.yml:\d+: sections\.0\.checks\.0\.needs: go\.one needs itself"):
        parse(replace_once("title: One", f"title: One\n        needs: {needs}"))


@pytest.mark.parametrize("text", ["", "- a", "just words"])
def test_a_file_that_is_no_mapping_is_rejected(text: str) -> None:
    """A checklist must be a mapping."""
    with pytest.raises(ChecklistError, match=r"^list\.yml:1: a checklist is a mapping"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("4h", timedelta(hours=4)),
        ("2d", timedelta(days=2)),
        ("15 m", timedelta(minutes=15)),
    ],
)
def test_durations_are_read_with_their_unit(text: str, expected: timedelta) -> None:
    """A duration is a number with a unit, as people write it."""
    assert parse(replace_once("90m", text)).gate_checks[1].max_age == expected


def test_the_digest_depends_on_the_content_only() -> None:
    """Comments, layout, quotes and explicit defaults do not change the digest; any other value does."""
    digest = parse(GOOD).digest
    assert parse("# a comment\n\n" + GOOD).digest == digest
    assert parse(replace_once("{do: set_image}", "{do: 'set_image', target: production}")).digest == digest
    assert parse(replace_once("90m", "5400s")).digest == digest
    assert parse(textwrap.indent(GOOD, "  ")).digest == digest
    assert parse(replace_once("title: Two", "title: Too")).digest != digest
    assert parse(replace_once("    gate: true", "    gate: true\n    runbook: Section A")).digest != digest


def test_a_checklist_is_restored_from_its_stored_body() -> None:
    """A checklist that is read back from its stored body is equal and has the same digest."""
    checklist = parse(GOOD)
    again = Checklist.model_validate(checklist.body)
    assert (again, again.digest) == (checklist, checklist.digest)


REFERRING = GOOD.replace(
    "  - id: after\n",
    "  - id: prep\n    title: Prep\n    checks:\n      - {id: prep.two, title: Two again, same_as: go.two}\n  - id: after\n",
)


def test_a_line_with_same_as_takes_the_values_of_its_original() -> None:
    """A line with same_as has the values of its original, does not run itself, and stores only its own fields."""
    checklist = parse(REFERRING)
    line, original = checklist.check("prep.two"), checklist.check("go.two")
    assert line is not None
    assert original is not None
    fields = ("kind", "target", "params", "waivable", "max_age", "timeout", "needs")
    assert [getattr(line, name) for name in fields] == [getattr(original, name) for name in fields]
    assert (line.title, line.canonical_id, original.canonical_id) == ("Two again", "go.two", "go.two")
    assert [check.id for check in checklist.distinct_checks] == ["go.one", "go.two", "after.notes"]
    assert [check.id for check in checklist.distinct_checks_in("before")] == ["go.one", "go.two"]
    assert checklist.dependents(CheckId("go.one")) == ("go.two",)
    stored_line = checklist.body["sections"][1]["checks"][0]
    assert sorted(stored_line) == ["action", "expected", "id", "runbook", "same_as", "title"]
    assert Checklist.model_validate(checklist.body) == checklist


def test_a_line_with_same_as_cannot_be_needed() -> None:
    """A check must need the original, not a line that only shows its result."""
    text = REFERRING.replace("kind: attest}", "kind: attest, needs: [prep.two]}")
    with pytest.raises(ChecklistError, match=r"needs: prep\.two only shows the result of go\.two: name that one$"):
        parse(text)


def test_dependents_are_transitive() -> None:
    """Dependents are the checks that need a check directly or through others, in the order of the file."""
    text = replace_once("title: Notes, kind: attest}", "title: Notes, kind: ask, needs: [go.two]}")
    assert parse(text).dependents(CheckId("go.one")) == ("go.two", "after.notes")
    assert parse(text).dependents(CheckId("after.notes")) == ()


OLD_KEYS = f"""{GOOD}  - id: rollback.mode
    title: Mode
    action: {{do: set_variable, name: MODE, value: "off", remind: 1h}}
watch:
  probes:
    - {{id: watch.one, title: One, kind: sentry_quiet, confirm: 2}}
"""


def test_an_old_key_is_read_under_its_new_name() -> None:
    """A checklist with the old names of keys is the same checklist, and a notice for each names the new one."""
    old = parse(OLD_KEYS)
    new = parse(OLD_KEYS.replace("remind:", "remind_after:").replace("confirm:", "confirm_polls:"))
    assert (old.digest, new.notices) == (new.digest, ())
    assert sorted(old.notices) == [
        "the key rollback.1.action.remind is called rollback.1.action.remind_after now",
        "the key watch.probes.0.confirm is called watch.probes.0.confirm_polls now",
    ]
    assert Checklist.model_validate(old.body).digest == new.digest


def test_lint_names_an_old_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever lints a checklist learns the new names of keys, and the checklist is good."""
    file = tmp_path / "list.yml"
    shipped = Path(bot.__file__).with_name("checklists") / "solvereign.yml"
    file.write_text(shipped.read_text(encoding="utf-8").replace("confirm_polls:", "confirm:"), encoding="utf-8")
    assert main(["checklist", "lint", str(file)]) == 0
    assert capsys.readouterr().out.startswith(
        f"{file}: the key watch.probes.3.confirm is called watch.probes.3.confirm_polls now.\n{file}: valid. "
    )


def test_a_key_under_both_names_is_refused() -> None:
    """It cannot be known which of the two values is meant."""
    with pytest.raises(ChecklistError) as error:
        parse(OLD_KEYS.replace("remind: 1h", "remind: 1h, remind_after: 2h"))
    assert error.value.user_message == (
        "list.yml:33: rollback.1.action.remind: rollback.1.action.remind is the old name of"
        " rollback.1.action.remind_after, and both are there: leave out remind"
    )
