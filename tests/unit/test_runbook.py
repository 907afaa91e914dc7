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
def test_a_heading_has_the_anchor_that_github_gives_it(heading: str, anchor: str) -> None:
    """The second one is the link that the template itself holds."""
    assert places(DOCUMENT, heading) == [(heading, f"{DOCUMENT}#{anchor}")]


def test_several_sections_one_address_and_no_address() -> None:
    """Each stands for itself; a runbook that is a path in the repository has no address to link to."""
    assert [heading for heading, _ in places(DOCUMENT, "Section C; Section D")] == ["Section C", "Section D"]
    assert places("docs/RUNBOOK.md", "Section C; https://x.example.com/#d") == [
        ("Section C", ""),
        ("https://x.example.com/#d", "https://x.example.com/#d"),
    ]
    assert places(DOCUMENT, " ; ") == []


@pytest.mark.parametrize(
    ("runbook", "found"),
    [
        ("docs/RUNBOOK.md", DOCUMENT),
        ("/docs/RUNBOOK.md", DOCUMENT),
        ("https://wiki.example.com/run", "https://wiki.example.com/run"),
        ("docs/run book.md", "https://github.com/o/r/blob/main/docs/run%20book.md"),
        ("", ""),
    ],
)
def test_a_path_is_one_in_the_repository(runbook: str, found: str) -> None:
    """An address is one already; where the repository is not known the path stays."""
    assert document(runbook, "https://github.com/o/r/blob/main/") == found
    assert document(runbook, "") == runbook


def test_too_long_for_links_is_words() -> None:
    """A link is whole or it is none."""
    assert text.runbook(DOCUMENT, "Section C; Section D", 400).count("<https://") == 2
    assert text.runbook(DOCUMENT, "Section C; Section D", 60) == "Section C; Section D"


def test_a_section_of_the_thread_links_into_the_runbook() -> None:
    """One press leads to what the team has written about it."""
    sections = make_checklist().sections
    named = (sections[0].model_copy(update={"runbook": "Section A: Migrations"}), *sections[1:])
    checklist = make_checklist(named).model_copy(update={"runbook": DOCUMENT})
    section = render_stored("section", "migrations", make_view(checklist=checklist))
    assert_slack_accepts(section)
    assert f"Runbook: <{DOCUMENT}#section-a-migrations|Section A: Migrations>" in block(section, "section")
    assert {check.runbook for check in checklist.sections[0].checks} == {"Section A: Migrations"}
