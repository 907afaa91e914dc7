"""Writes the checklist that a template becomes: each line an attestation, or a check where the text shows which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bot.domain.checklist import ID_LIMIT
from bot.errors import ChecklistError
from bot.importer.form import read_form
from bot.importer.place import Placement, is_gate, is_signature, place_of, place_of_rest
from bot.importer.propose import Proposal, propose
from bot.importer.read import read_template
from bot.importer.template import Template, TemplateBlock, TemplateLine

_LONGEST_TITLE = 150  # characters, as the checklist allows
_WORDS_OF_ID = 6
_HEAD = """\
# Made by `release-bot checklist import` from {source}. Check it before you use it:
# - A person answers the lines of kind attest. Where a comment suggests a kind, see docs/reference/kinds.md
#   and replace attest with it if it checks the right thing.
# - Sections with gate: true decide Go or No-Go; nothing else blocks a deploy.
# - People do the steps of deploy and rollback here; docs/reference/checklist.md lists what the bot can do."""
_NOTHING_DECIDES = """\
  - id: go
    title: Go or No-Go
    gate: true
    checks:
      # The template has nothing before the deploy. Add here what must be true before it.
      - {id: go.ready, title: Everything is ready for the deploy, kind: attest}"""


@dataclass(frozen=True)
class ImportResult:
    """A checklist made of a template, and what became of each line."""

    yaml: str
    places: tuple[tuple[str, int, Placement], ...]  # heading, number of lines under it, what they are now
    proposals: int  # kinds that are proposed in comments
    hidden_boxes: int  # boxes in comments and code, which are not taken
    empty_boxes: int  # boxes with no words

    @property
    def lines(self) -> int:
        """How many lines were taken."""
        return sum(number for _, number, _ in self.places)


def import_template(text: str, source: str) -> ImportResult:
    """Make a checklist from a template. ``source``: its file name; `.yml` and `.yaml` are GitHub's issue forms.

    Raises ChecklistError if it has no line to tick, or a form is not valid YAML.
    """
    template = read_form(text, source) if source.endswith((".yml", ".yaml")) else read_template(text)
    if not any(block.tasks for block in template.blocks):
        raise ChecklistError(
            f"{source}: it has no boxes to tick.",
            hint="A checklist has lines such as `- [ ] Backup ran`, or a table with the columns Check and Expected.",
        )
    writer = _Writer(template, source)
    yaml = "\n".join(writer.write()) + "\n"
    return ImportResult(yaml, tuple(writer.places()), writer.proposals, template.hidden_boxes, template.empty_boxes)


class _Writer:
    """Writes one checklist, and keeps its ids unique."""

    def __init__(self, template: Template, source: str) -> None:
        self.proposals = 0
        self._template, self._source = template, source
        self._ids = {"go.ready"}
        self._section_ids: set[str] = set()
        self._signatures: list[tuple[str, TemplateLine]] = []  # heading and line
        self._plans: dict[Placement, list[TemplateBlock]] = {Placement.DEPLOY: [], Placement.ROLLBACK: []}
        self._sections: list[tuple[TemplateBlock, Placement]] = []
        for block in template.blocks:
            self._sort(block, place_of(block, template.about))
        self._choose_gate()

    def _sort(self, block: TemplateBlock, place: Placement) -> None:
        if place in self._plans:
            if block.steps:
                self._plans[place].append(block)
            return
        if place is Placement.SIGN_OFF:
            signatures = [line for line in block.tasks if is_signature(line.words.text)]
            self._signatures += [(block.heading.text, line) for line in signatures]
            block = replace(block, lines=[line for line in block.lines if line not in signatures])
            place = place_of_rest(block)
        if block.tasks:
            self._sections.append((block, place))

    def _choose_gate(self) -> None:
        """The sections whose checks decide Go or No-Go: by their heading, else the tables, else all before the deploy."""
        if any(place is Placement.GATE for _, place in self._sections):
            return
        before = [block for block, place in self._sections if place is Placement.BEFORE]
        deciding = [block for block in before if any(line.cells for line in block.lines)] or before
        self._sections = [(block, Placement.GATE if block in deciding else place) for block, place in self._sections]

    def places(self) -> Iterator[tuple[str, int, Placement]]:
        """Return heading, number of lines and placement of each group of lines, in the order of the checklist."""
        for block, place in self._sections:
            yield _title_of(block), len(block.tasks), place
        for place, blocks in self._plans.items():
            for block in blocks:
                yield block.heading.text, len(block.steps), place
        for heading in dict.fromkeys(heading for heading, _ in self._signatures):
            yield heading, sum(heading == of for of, _ in self._signatures), Placement.SIGN_OFF

    def write(self) -> Iterator[str]:
        """Return the lines of the file."""
        title = self._template.title or "Checklist"
        yield _HEAD.format(source=self._source)
        for _, line in self._signatures:
            yield f"# - Sign-off in the template: {line.words.text}. Who signs is in release-bot.yml, under policy."
        yield f"id: {_fresh_id(title, set())}"
        yield f"title: {_quote(title)}\n\nsections:"
        if not any(place is Placement.GATE for _, place in self._sections):
            self._section_ids.add("go")
            yield _NOTHING_DECIDES
        for block, place in self._sections:
            yield from self._write_section(block, place)
        for plan, blocks in (("deploy", self._plans[Placement.DEPLOY]), ("rollback", self._plans[Placement.ROLLBACK])):
            yield f"\n{plan}:"
            yield from self._write_steps(plan, [line for block in blocks for line in block.steps])

    def _write_section(self, block: TemplateBlock, place: Placement) -> Iterator[str]:
        title = _title_of(block)
        section = _fresh_id("go" if is_gate(title) else title, self._section_ids)
        yield f"  - id: {section}"
        yield f"    title: {_quote(title)}"
        if runbook := self._template.runbooks.get(title.lower()):
            yield f"    runbook: {_quote(runbook)}"
        if place is Placement.GATE:
            yield "    gate: true"
        elif place is Placement.AFTER:
            yield "    phase: after"
        yield "    checks:"
        about = " ".join((title, *(line.words.with_code for line in block.tasks)))
        for line in block.tasks:
            yield from self._write_check(section, about, line)

    def _write_check(self, section: str, about: str, line: TemplateLine) -> Iterator[str]:
        proposal = propose(f"{line.words.with_code} {line.action.with_code} {line.expected.with_code}", about)
        yield f"      - id: {_fresh_id(line.words.text, self._ids, f'{section}.')}"
        yield f"        title: {_quote(_shorten(line.words.text))}"
        if proposal is None or not proposal.certain:
            yield "        kind: attest"
        else:
            yield f"        kind: {proposal.kind}"
            if proposal.target != "staging":
                yield f"        target: {proposal.target}"
            if proposal.params:
                yield f"        params: {_quote(proposal.params)}"
        if proposal is not None and not proposal.certain:
            self.proposals += 1
            yield f"        # {_as_comment(proposal)}"
        for key, words in (("action", line.action), ("expected", line.expected)):
            if words.text:
                yield f"        {key}: {_quote(words.text)}"
        if line.parent and line.parent.words.text:
            yield f"        # under: {line.parent.words.text.rstrip(':')}"

    def _write_steps(self, plan: str, lines: Iterable[TemplateLine]) -> Iterator[str]:
        if not lines:
            yield "  # The template has no such steps, but a plan needs at least one."
            yield f"  - {{id: {plan}.by_hand, title: {plan.capitalize()} by hand, action: {{do: attest}}}}"
        for line in lines:
            yield f"  - id: {_fresh_id(line.words.text, self._ids, f'{plan}.')}"
            yield f"    title: {_quote(_shorten(line.words.text))}"
            yield "    action: {do: attest}"


def _title_of(block: TemplateBlock) -> str:
    return block.heading.text or "Checks"


def _fresh_id(title: str, used_ids: set[str], prefix: str = "") -> str:
    """Return a new id made of the first words of a title, with a number if that is in ``used_ids``, and add it there."""
    words = re.findall(r"[a-z0-9]+", title.lower())[:_WORDS_OF_ID]
    while words and not words[0][0].isalpha():
        words = words[1:]
    name = prefix + ("_".join(words) or "line")[: ID_LIMIT - len(prefix) - 5]
    number, fresh = 1, name
    while fresh in used_ids:
        number += 1
        fresh = f"{name}_{number}"
    used_ids.add(fresh)
    return fresh


def _as_comment(proposal: Proposal) -> str:
    params = f", params: {_quote(proposal.params)}" if proposal.params else ""
    return f"suggestion: kind: {proposal.kind}{params} ({proposal.why})"


def _shorten(title: str) -> str:
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"


def _quote(value: object) -> str:
    """Return any value as YAML in one line, by way of JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)
