"""Turns somebody's Markdown checklist into one of ours: each line an attestation, or a check where the text shows which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bot.domain.checklist import ID_LIMIT
from bot.domain.proposals import Proposal, propose
from bot.domain.template import Block, Item, Template, plain, read_template
from bot.domain.template_form import read_form
from bot.domain.template_place import Place, is_gate, is_signature, place_of, place_of_rest
from bot.errors import ChecklistError

PROPOSED = "proposed:"  # begins the comment behind a line that a kind could answer
_TITLE = 150  # characters of a title, as the model has it
_WORDS = 6  # of a title that go into its id


@dataclass(frozen=True)
class Imported:
    """A checklist made of a template, and what became of each line."""

    yaml: str
    where: tuple[tuple[str, int, str], ...]  # heading, number of lines under it, what they are now
    hidden: int  # boxes in comments and code, which are not taken
    empty: int  # boxes with no words

    @property
    def lines(self) -> int:
        """How many lines were taken."""
        return sum(number for _, number, _ in self.where)


def import_template(text: str, source: str) -> Imported:
    """A checklist made from a template. ``source``: its file name; `.yml` and `.yaml` are GitHub's issue forms.

    Raises ChecklistError when there is nothing to tick in it, or a form is no YAML.
    """
    template = read_form(text, source) if source.endswith((".yml", ".yaml")) else read_template(text)
    if not any(block.items for block in template.blocks):
        raise ChecklistError(
            f"{source}: there is nothing to tick in it.",
            hint="A checklist has lines such as `- [ ] Backup ran`, or a table with the columns Check and Expected.",
        )
    writer = _Writer(template, source)
    return Imported("\n".join(writer.lines()) + "\n", tuple(writer.where()), template.hidden, template.empty)


class _Writer:
    """Writes one checklist; knows which ids are taken."""

    def __init__(self, template: Template, source: str) -> None:
        self._template, self._source = template, source
        self._ids: set[str] = set()
        self._sections: set[str] = set()
        self._signs: list[tuple[str, Item]] = []  # heading and line
        self._plans: dict[Place, list[Block]] = {Place.DEPLOY: [], Place.ROLLBACK: []}
        self._asked: list[tuple[Block, Place]] = []
        for block in template.blocks:
            self._put(block, place_of(block, template.about))
        self._decide()

    def _put(self, block: Block, place: Place) -> None:
        if place in self._plans:
            self._plans[place].append(block)
            return
        if place is Place.SIGN_OFF:
            signs = [item for item in block.items if is_signature(item.text)]
            self._signs += [(block.heading, item) for item in signs]
            block = replace(block, items=[item for item in block.items if item not in signs])
            place = place_of_rest(block)
        if block.items:
            self._asked.append((block, place))

    def _decide(self) -> None:
        """The blocks whose checks decide Go or No-Go: by their heading, else the tables, else all before the deploy."""
        if any(place is Place.GATE for _, place in self._asked):
            return
        before = [block for block, place in self._asked if place is Place.BEFORE]
        deciding = [block for block in before if block.is_table] or before
        self._asked = [(block, Place.GATE if block in deciding else place) for block, place in self._asked]

    def where(self) -> Iterator[tuple[str, int, str]]:
        """Heading, number of lines and what they became, in the order of the checklist."""
        for block, place in self._asked:
            yield block.heading or "Checks", len(block.items), place.value
        for place, blocks in self._plans.items():
            for block in blocks:
                yield block.heading, len(_steps_of(block)), place.value
        for heading in dict.fromkeys(heading for heading, _ in self._signs):
            yield heading, sum(heading == of for of, _ in self._signs), Place.SIGN_OFF.value

    def lines(self) -> Iterator[str]:
        title = self._template.title or "Checklist"
        yield f"# Made by `release-bot checklist import` from {self._source}. Read it before you use it:"
        yield "# - Lines of kind attest are answered by a person. Where a comment proposes a kind, look at docs/reference/kinds.md"
        yield "#   and put it in the place of attest if it asks the right thing."
        yield "# - Sections with gate: true decide Go or No-Go; nothing else holds up a deploy."
        yield "# - The steps of deploy and rollback are done by people here; docs/reference/checklist.md says what the bot can do."
        for _, item in self._signs:
            yield f"# - Sign-off in the template: {plain(item.text)}. Who signs stands in release-bot.yml under policy."
        yield f"id: {self._fresh(title, set())}"
        yield f"title: {_quoted(title)}"
        yield ""
        yield "sections:"
        if not any(place is Place.GATE for _, place in self._asked):
            yield from self._nothing_decides()
        for block, place in self._asked:
            yield from self._section(block, place)
        for plan, blocks in (("deploy", self._plans[Place.DEPLOY]), ("rollback", self._plans[Place.ROLLBACK])):
            yield ""
            yield f"{plan}:"
            yield from self._steps(plan, blocks)

    def _nothing_decides(self) -> Iterator[str]:
        """A template with nothing before the deploy: something must decide."""
        self._sections.add("go")
        self._ids.add("go.ready")
        yield "  - id: go"
        yield "    title: Go or No-Go"
        yield "    gate: true"
        yield "    checks:"
        yield "      # The template has nothing before the deploy. Say here what must be so before it."
        yield "      - {id: go.ready, title: Everything is ready for the deploy, kind: attest}"

    def _section(self, block: Block, place: Place) -> Iterator[str]:
        title = block.heading or "Checks"
        section = self._fresh("go" if is_gate(title) else title, self._sections)
        yield f"  - id: {section}"
        yield f"    title: {_quoted(title)}"
        if runbook := self._runbook(title):
            yield f"    runbook: {_quoted(runbook)}"
        if place is Place.GATE:
            yield "    gate: true"
        elif place is Place.AFTER:
            yield "    phase: after"
        yield "    checks:"
        about = " ".join((title, *(item.text for item in block.items)))
        for item in block.items:
            yield from self._check(section, about, item)

    def _runbook(self, title: str) -> str:
        """What the template's own table says about a heading."""
        return next((said for name, said in self._template.runbooks.items() if name.lower() == title.lower()), "")

    def _check(self, section: str, about: str, item: Item) -> Iterator[str]:
        title = plain(item.text)
        proposal = propose(f"{item.text} {item.action} {item.expected}", about)
        yield f"      - id: {self._fresh(title, self._ids, f'{section}.')}"
        yield f"        title: {_quoted(_shortened(title))}"
        if proposal is None or not proposal.certain:
            yield "        kind: attest"
        else:
            yield f"        kind: {proposal.kind}"
            if proposal.target != "staging":
                yield f"        target: {proposal.target}"
            if proposal.params:
                yield f"        params: {json.dumps(proposal.params, ensure_ascii=False)}"
        if proposal is not None and not proposal.certain:
            yield f"        # {_as_comment(proposal)}"
        for key, value in (("action", item.action), ("expected", item.expected)):
            if plain(value):
                yield f"        {key}: {_quoted(plain(value))}"
        if item.parent:
            yield f"        # under: {item.parent}"

    def _steps(self, plan: str, blocks: Iterable[Block]) -> Iterator[str]:
        items = [item for block in blocks for item in _steps_of(block)]
        if not items:
            yield "  # The template has no such steps; a plan needs one at least."
            yield f"  - {{id: {plan}.by_hand, title: {plan.capitalize()} by hand, action: {{do: attest}}}}"
        for item in items:
            title = plain(item.text)
            yield f"  - id: {self._fresh(title, self._ids, f'{plan}.')}"
            yield f"    title: {_quoted(_shortened(title))}"
            yield "    action: {do: attest}"

    def _fresh(self, title: str, taken: set[str], prefix: str = "") -> str:
        """An id made of the first words of a title, and of a number where that is taken."""
        words = re.findall(r"[a-z0-9]+", title.lower())[:_WORDS]
        while words and not words[0][0].isalpha():
            words = words[1:]
        name = prefix + ("_".join(words) or "line")[: ID_LIMIT - len(prefix) - 5]
        number, fresh = 1, name
        while fresh in taken:
            number += 1
            fresh = f"{name}_{number}"
        taken.add(fresh)
        return fresh


def _steps_of(block: Block) -> list[Item]:
    """Its lines with a box, else its numbered ones."""
    return block.items or block.numbered


def _as_comment(proposal: Proposal) -> str:
    params = f", params: {json.dumps(proposal.params, ensure_ascii=False)}" if proposal.params else ""
    return f"{PROPOSED} kind: {proposal.kind}{params} ({proposal.why})"


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"


def _quoted(text: str) -> str:
    """A YAML scalar that is this text whatever stands in it: JSON's strings are YAML's too."""
    return json.dumps(text, ensure_ascii=False)
