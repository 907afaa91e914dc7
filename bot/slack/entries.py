"""Entries: what a button and a command are made of. A feature declares them; dispatch looks them up and carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from bot.domain.actor import Actor
from bot.domain.policy import Action
from bot.errors import StaleButton
from bot.flows.deps import Deps
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.modals import Details, Form
from bot.slack.grammar import Malformed
from bot.slack.payloads import Payload
from bot.store.pool import Tx


class Audience(StrEnum):
    """Who may use an entry that no Action of the policy covers."""

    ANYBODY = "anybody"  # also guests and people of other workspaces
    MEMBER = "member"  # every full member of the workspace, with a role or without
    OWN_ROLE = "own_role"  # whoever has the role that the button names


T = TypeVar("T")  # the payload of a button, or what follows the word of a command
P = TypeVar("P", bound=Payload)

Permission: TypeAlias = Action | Audience
Effect: TypeAlias = Callable[
    [Tx], str | Rendered
]  # changes rows in one transaction and returns the reply to the person


@dataclass(frozen=True)
class Interaction(Generic[T]):
    """One click or command of one person, with what it takes to carry it out."""

    deps: Deps
    actor: Actor
    content: T
    delivery: int  # id of its row in the inbox
    note: str = ""  # what was typed into the form of a button


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[T]):
    """What buttons and commands have in common.

    ``run`` does everything in the transaction of the click. An entry that has to ask somebody outside gives ``prepare``
    instead: it runs before the transaction, for no transaction waits for a network, and returns what runs in it.
    """

    permission: Permission
    run: Callable[[Tx, Interaction[T]], str | Rendered] | None = None
    prepare: Callable[[Interaction[T]], Effect] | None = None

    def effect_of(self, interaction: Interaction[T]) -> Effect:
        """Do what has to be done before the transaction. Raises RefusedError, VendorError; StaleButton for what only shows."""
        if self.prepare is not None:
            return self.prepare(interaction)
        run = self.run
        if run is None:
            raise StaleButton
        return lambda tx: run(tx, interaction)


@dataclass(frozen=True, kw_only=True)
class Button(Entry[P]):
    """A button. With a ``modal`` it opens that; a Form acts when it is submitted, Details only show something."""

    id: str  # the action_id; also the callback_id of its modal. Published: outside tests and old messages rely on it
    payload: type[P]
    place: str  # for the reference: in which message it stands, and when
    does: str  # for the reference
    modal: Form | Details[P] | None = None


@dataclass(frozen=True, kw_only=True)
class Command(Entry[T]):
    """A command, typed as `/release WORD …`."""

    word: str  # one word, or two where the second one selects a command of its own
    parameters: str = ""  # as the usage shows them
    summary: str  # one sentence, for `/release help`
    details: str = ""  # more sentences, for the reference
    parse: Callable[[str], T | Malformed]  # reads the rest of the line

    @property
    def usage(self) -> str:
        """How it is typed after `/release`."""
        return f"{self.word} {self.parameters}".rstrip()


AnyButton: TypeAlias = Button[Any]
AnyCommand: TypeAlias = Command[Any]
