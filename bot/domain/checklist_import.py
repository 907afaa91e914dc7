"""Turns somebody's Markdown checklist into one of ours: each line an attestation, or a check where the text shows which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from bot.domain.checklist import ID_LIMIT
from bot.domain.proposals import Proposal, propose
from bot.domain.template import Block, Item, Template, plain, read_template
from bot.domain.template_form import read_form
from bot.errors import ChecklistError

PROPOSED = "proposed:"  # begins the comment behind a line that a kind could answer
_TITLE = 150  # characters of a title, as the model has it
_WORDS = 6  # of a title that go into its id
_DEPLOY = re.compile(r"\bdeploy(ment)?\s+(steps|plan|procedure|process)\b|^(deploy|deployment|rollout)$", re.IGNORECASE)
_ROLLBACK = re.compile(r"\broll[\s-]?back\b", re.IGNORECASE)
_SIGN_OFF = re.compile(r"\bsign[\s-]?offs?\b|\bapprovals?\b", re.IGNORECASE)
_AFTER = re.compile(r"\b(post[\s-]|after\b|close[\s-]?out|follow[\s-]?up|announce)", re.IGNORECASE)
_GATE = re.compile(r"\bgo\s*/?\s*(or\s+)?no[\s-]?go\b", re.IGNORECASE)


def import_template(text: str, source: str) -> str:
    """The YAML of a checklist made from a template. ``source``: its file name; `.yml` and `.yaml` are GitHub's issue forms.

    Raises ChecklistError when there is nothing to tick in it, or a form is no YAML.
    """
    template = read_form(text, source) if source.endswith((".yml", ".yaml")) else read_template(text)
    if not any(block.items for block in template.blocks):
        raise ChecklistError(
            f"{source}: there is nothing to tick in it.",
            hint="A checklist has lines such as `- [ ] Backup ran`, or a table with the columns Check and Expected.",
        )
    return "\n".join(_Writer(template, source).lines()) + "\n"


class _Writer:
    """Writes one checklist; knows which ids are taken."""

    def __init__(self, template: Template, source: str) -> None:
        self._template, self._source = template, source
        self._ids: set[str] = set()
        self._sections: set[str] = set()
        blocks = template.blocks
        self._signs = [block for block in blocks if _SIGN_OFF.search(block.heading)]
        rest = [block for block in blocks if block not in self._signs]
        self._rollback = [block for block in rest if _ROLLBACK.search(block.heading)]
        self._deploy = [block for block in rest if _DEPLOY.search(block.heading) and block not in self._rollback]
        self._asked = [b for b in rest if b.items and b not in self._deploy and b not in self._rollback]
        self._deciding = self._which_decide()

    def _which_decide(self) -> list[Block]:
        """The blocks whose checks decide Go or No-Go: by their heading, else the tables, else all before the deploy."""
        before = [block for block in self._asked if not _AFTER.search(block.heading)]
        named = [block for block in self._asked if _GATE.search(block.heading)]
        return named or [block for block in before if block.is_table] or before or self._asked[:1]

    def lines(self) -> Iterator[str]:
        title = self._template.title or "Checklist"
        yield f"# Made by `release-bot checklist import` from {self._source}. Read it before you use it:"
        yield "# - Lines of kind attest are answered by a person. Where a comment proposes a kind, look at docs/reference/kinds.md"
        yield "#   and put it in the place of attest if it asks the right thing."
        yield "# - Sections with gate: true decide Go or No-Go; nothing else holds up a deploy."
        yield "# - The steps of deploy and rollback are done by people here; docs/reference/checklist.md says what the bot can do."
        for item in (item for block in self._signs for item in block.items):
            yield f"# - Sign-off in the template: {plain(item.text)}. Who signs stands in release-bot.yml under policy."
        yield f"id: {self._fresh(title, set())}"
        yield f"title: {_quoted(title)}"
        yield ""
        yield "sections:"
        if not self._asked:
            yield from self._nothing_asked()
        for block in self._asked:
            yield from self._section(block)
        for plan, blocks in (("deploy", self._deploy), ("rollback", self._rollback)):
            yield ""
            yield f"{plan}:"
            yield from self._steps(plan, blocks)

    def _nothing_asked(self) -> Iterator[str]:
        """A template of steps only: something must decide."""
        yield "  - id: go"
        yield "    title: Go or No-Go"
        yield "    gate: true"
        yield "    checks:"
        yield "      # The template has steps only. Say here what must be so before the deploy."
        yield "      - {id: go.ready, title: Everything is ready for the deploy, kind: attest}"

    def _section(self, block: Block) -> Iterator[str]:
        gate = block in self._deciding
        title = block.heading or "Checks"
        section = self._fresh("go" if _GATE.search(title) else title, self._sections)
        yield f"  - id: {section}"
        yield f"    title: {_quoted(title)}"
        if runbook := self._runbook(title):
            yield f"    runbook: {_quoted(runbook)}"
        if gate:
            yield "    gate: true"
        elif _AFTER.search(title):
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
        items = [item for block in blocks for item in (block.items or block.numbered)]
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


def _as_comment(proposal: Proposal) -> str:
    params = f", params: {json.dumps(proposal.params, ensure_ascii=False)}" if proposal.params else ""
    return f"{PROPOSED} kind: {proposal.kind}{params} ({proposal.why})"


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"


def _quoted(text: str) -> str:
    """A YAML scalar that is this text whatever stands in it: JSON's strings are YAML's too."""
    return json.dumps(text, ensure_ascii=False)
