"""Where in a release the lines of somebody's template belong, by the headings that they stand under."""

from __future__ import annotations

import re
from enum import StrEnum

from bot.importer.template import TemplateBlock


class Placement(StrEnum):
    """When a line is answered; the words are those of the summary."""

    GATE = "decides Go or No-Go"
    BEFORE = "before the deploy"
    DEPLOY = "steps of the deploy"
    AFTER = "after the deploy"
    ROLLBACK = "steps of the rollback"
    SIGN_OFF = "sign-offs: policy in release-bot.yml"


_NUMBERING = re.compile(r"^\W*(?:(?:step|phase|part|stage|section)\s+)?(?:[0-9]+|[a-z](?=[.):]))?[\W_]*", re.IGNORECASE)
_SIGN_OFF = re.compile(r"^(sign[\s-]?offs?|approvals?)\b|\b(sign[\s-]?offs?|approvals?)\W*$", re.IGNORECASE)
_GATE = re.compile(r"\bgo\s*/?\s*(or\s+)?no[\s-]?go\b", re.IGNORECASE)
_BEFORE = re.compile(
    r"\bpre[\s-]?(deploy|release|launch|prod|flight|requisite|merge|check|work)|\bbefore\b(?!.*\broll)|\bprepar|\breadiness\b",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\bpost-|\bpost\s?(deploy|release|launch|prod|go\b|mortem|upgrade|merge|migration|roll)|\bafter\b|\bclose[\s-]?out"
    r"|\bfollow[\s-]?up|\bwrap[\s-]?up|\bannounce|\bonce\s+(it\s+is\s+)?(live|deployed|released)\b",
    re.IGNORECASE,
)
_ROLLBACK = re.compile(
    r"\broll(ing)?[\s-]?back\b(?!\s+(is\s+)?(test|drill|rehears|verif|criteria|review|readiness|prepar))", re.IGNORECASE
)
_DEPLOY = re.compile(
    r"\bdeploy(ment)?\s+(steps|plan|procedure|process|sequence|execution|instructions)\b|^during\b.*\b(deploy|release|roll)"
    r"|^(deploy|deployment|rollout|roll-out|deploying)$|^deploy(ing)?\s+(to|the|backend|frontend|into)\b"
    r"|\bprod(uction)?\s+(deploy|deployment|rollout)$",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(r"\b(staging|stage|test|qa|uat|dev|preview|sandbox)\b", re.IGNORECASE)
_ROLE = (
    r"(manager|lead|owner|qa|quality|product|engineering|engineer|developer|security|legal|compliance|operations|ops|sre|support"
    r"|design|marketing|cto|ceo|ciso|vp|director|stakeholders?|reviewer|approver|tester)"
)
_SIGNS = re.compile(
    r"^@\S+|[:–—(-]\s*@\S+|^(approved|approval|signed?[\s-]?off)\s+(by|from|of)\b|\b(approved|approves|approval|signed?[\s-]?off)\W*$"
    rf"|^(\S+\s+){{0,2}}{_ROLE}\s*(\([^)]*\)\s*)?(:[\s_.…]*)?$|^[^:]{{1,40}}:[\s_.…]+$",
    re.IGNORECASE,
)


def place_of(block: TemplateBlock, about: str) -> Placement:
    """Return the placement of the lines under a heading, by the nearest heading that says one; by default before the deploy.

    ``about``: the heading of the whole file, of which only "after the deploy" counts.
    """
    places = _places_of_headings(block)
    if not places:
        return Placement.AFTER if _place_of_heading(about) is Placement.AFTER else Placement.BEFORE
    nearest, around = places[0], next((place for place in places if place in {Placement.BEFORE, Placement.AFTER}), None)
    if nearest is Placement.DEPLOY and around:
        return around  # "Deployment plan" under "Before the release": its lines are not the steps
    if nearest is Placement.ROLLBACK and around is Placement.BEFORE and block.tasks:
        return around  # "Rollback plan" there: that it has been written
    return nearest


def place_of_rest(block: TemplateBlock) -> Placement:
    """Return the placement of lines under a heading of sign-offs that are no sign-offs."""
    rest = [place for place in _places_of_headings(block) if place is not Placement.SIGN_OFF]
    return Placement.AFTER if rest[:1] == [Placement.AFTER] else Placement.BEFORE


def is_gate(heading: str) -> bool:
    """Whether a heading is that of Go or No-Go."""
    return _GATE.search(heading) is not None


def is_signature(text: str) -> bool:
    """Whether a line under a heading of sign-offs names who signs, and not something to do."""
    return _SIGNS.search(text) is not None


def _places_of_headings(block: TemplateBlock) -> list[Placement]:
    """Return the placements that the heading of a block and those above it name, the nearest first."""
    headings = (block.heading.text, *reversed(block.parents))
    return [place for heading in headings if (place := _place_of_heading(heading)) is not None]


def _place_of_heading(heading: str) -> Placement | None:
    words = _NUMBERING.sub("", heading, count=1).strip(" :!.")
    if _SIGN_OFF.search(words):
        return Placement.SIGN_OFF
    if _GATE.search(words):
        return Placement.GATE
    if _BEFORE.match(words):
        return Placement.BEFORE
    if _ROLLBACK.search(words):
        return Placement.ROLLBACK
    if _AFTER.search(words):
        return Placement.AFTER
    if _BEFORE.search(words):
        return Placement.BEFORE
    if _DEPLOY.search(words):
        return Placement.BEFORE if _ELSEWHERE.search(words) else Placement.DEPLOY
    return None
