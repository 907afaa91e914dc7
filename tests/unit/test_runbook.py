"""Where in the runbook a line leads."""

import pytest

from bot.domain.runbook import document, places
from bot.slack import text
from tests.unit.factories import make_checklist, make_view, render_stored
from tests.unit.slack_rules import assert_slack_accepts, block

DOCUMENT = "https://github.com/o/r/blob/main/docs/RUNBOOK.md"


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Section A: Database Migrations", "section-a-database-migrations"),
        ("Go/No-Go Checklist (10 Points)", "gono-go-checklist-10-points"),
        ('Observability "Done" Criteria', "observability-done-criteria"),
    ],
)
def test_a_heading_has_the_anchor_of_github(heading: str, anchor: str) -> None:
    """The anchor of a heading is the one that GitHub gives it."""
    assert places(DOCUMENT, heading) == [(heading, f"{DOCUMENT}#{anchor}")]


def test_several_sections_are_separate_links() -> None:
    """Each section is a link of its own, an address is kept, and a path has no address to link to."""
    assert [heading for heading, _ in places(DOCUMENT, "Section C; Section D")] == ["Section C", "Section D"]
    assert places("docs/RUNBOOK.md", "Section C; https://x.example.com/#d") == [
        ("Section C", ""),
        ("https://x.example.com/#d", "https://x.example.com/#d"),
    ]
    assert places(DOCUMENT, " ; ") == []


@pytest.mark.parametrize(
    ("runbook", "expected"),
    [
        ("docs/RUNBOOK.md", DOCUMENT),
        ("/docs/RUNBOOK.md", DOCUMENT),
        ("https://wiki.example.com/run", "https://wiki.example.com/run"),
        ("docs/run book.md", "https://github.com/o/r/blob/main/docs/run%20book.md"),
        ("", ""),
    ],
)
def test_a_path_is_one_in_the_repository(runbook: str, expected: str) -> None:
    """A path leads to the file on GitHub, an address is unchanged, and so is a path without a known repository."""
    assert document(runbook, "https://github.com/o/r/blob/main/") == expected
    assert document(runbook, "") == runbook


def test_a_runbook_that_is_too_long_for_links_is_text() -> None:
    """If the links do not fit, the runbook is shown as text."""
    assert text.runbook(DOCUMENT, "Section C; Section D", 400).count("<https://") == 2
    assert text.runbook(DOCUMENT, "Section C; Section D", 60) == "Section C; Section D"


def test_a_section_of_the_thread_links_to_the_runbook() -> None:
    """The heading of a section links to its part of the runbook."""
    sections = make_checklist().sections
    sections_with_runbook = (sections[0].model_copy(update={"runbook": "Section A: Migrations"}), *sections[1:])
    checklist = make_checklist(sections_with_runbook).model_copy(update={"runbook": DOCUMENT})
    section = render_stored("section", "migrations", make_view(checklist=checklist))
    assert_slack_accepts(section)
    assert f"Runbook: <{DOCUMENT}#section-a-migrations|Section A: Migrations>" in block(section, "section")
    assert {check.runbook for check in checklist.sections[0].checks} == {"Section A: Migrations"}
