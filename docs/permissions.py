"""The page docs/reference/permissions.md: who may do what in which state of a release; a test tries every cell of it.

Who may use a button or a command is declared by its entry in bot/slack/features. In which states it works is STATES_OF here.
"""  # noqa: INP001  beside a script

from __future__ import annotations

from typing import NamedTuple

from bot.domain.policy import BreakGlassRule, Policy
from bot.slack.entries import AnyButton, Audience, Permission
from bot.slack.features import BUTTONS, COMMANDS

HEAD = """# Who may do what, and when

<!-- Written by docs/generate.py from bot/slack/features and docs/permissions.py. Do not edit. -->

The bot does something only when **both** tables allow it: the first for the person, the second for the state of the release.
It asks Slack and the database at the moment of the click; having a button on the screen proves nothing. A refusal
changes nothing, is answered in private, and goes on record with its reason.

This is the default policy with `break_glass: {allowed: true}`; without that, nobody may break the glass. `policy.may` and
`policy.lines` of the [configuration](configuration.md) move the rights of the first table between the three roles. No
setting gives them to somebody without a role. The test
[tests/integration/test_permissions.py](../../tests/integration/test_permissions.py) tries every act in every state and
compares the outcome with these tables: in `OPEN` as everybody, elsewhere people whom the tables treat alike take turns. With
`RELEASE_BOT_EVERY_CELL=1` everybody tries everything everywhere.
"""
GATE = """`release.deploy` and `/release deploy` also ask the gate, which lists every reason against a deploy: checks, sign-offs, four
eyes, freeze, an image that was rolled back before ([Architecture](../explanation/architecture.md)).
`/release deploy --break-glass` asks it too and passes over [some of the reasons](../howto/break-glass.md). Whoever broke the glass
can't review it. In a freeze nobody retries a failed step of a deploy; a rollback works. `/release rollback` means the newest
release whose deploy began; whoever may roll back also aborts a newer one that is only `OPEN`
([Roll back](../howto/roll-back.md)). `release.abort` and `/release abort` take a deploy only while it has changed nothing and
waits at a failed step or a person's step. `check.attest` takes a check from before the deploy in `OPEN` only. `check.waive`
refuses a check that can't be waived.
"""
COMMAND_LINE = """Whoever has a shell on the machine and the bot's configuration can use the command line. It knows no people,
so no command of it, with whatever option, starts, signs, waives, deploys or takes back a release.
"""

ROLES = ("release_manager", "qa", "product")
MEMBERS = (*ROLES, "member")
EVERYBODY = (*MEMBERS, "outsider")
TITLES = {
    "release_manager": "Release Manager",
    "qa": "QA",
    "product": "Product",
    "member": "member without a role",
    "outsider": "everybody else",
}


class Person(NamedTuple):
    """One kind of person."""

    key: str
    column: str  # of the first table
    description: str  # what Slack says of them, in words


PEOPLE = (
    Person("release_manager", "release_manager", "a full member, named in `slack.roles` or in a user group of it"),
    Person("release_manager_w", "release_manager", "the same person under the other id (`U…` and `W…`) of Enterprise Grid"),
    Person("qa", "qa", "as above"),
    Person("product", "product", "as above"),
    Person("developer", "member", "a full member who is in none of the roles"),
    Person("bot", "outsider", "a bot or a workflow, even one in a user group with a role"),
    Person("guest", "outsider", "a guest of one channel or of several, likewise"),
    Person("deleted", "outsider", "a deactivated account, likewise"),
    Person("other_team", "outsider", "a member of another workspace, likewise"),
    Person("stranger", "outsider", "a person of another company, through Slack Connect, likewise"),
)  # fmt: skip

NONE = "none"  # no release yet
STATES = (
    NONE,
    "OPEN",
    "DEPLOYING",
    "DEPLOY_FAILED",
    "WATCHING",
    "DONE",
    "ROLLING_BACK",
    "ROLLBACK_FAILED",
    "ROLLED_BACK",
    "ABORTED",
)
DEPLOY_STATES = STATES[1:]
CHANGED_STATES = DEPLOY_STATES[1:-1]  # production was touched
BACK = ("ROLLING_BACK", "ROLLBACK_FAILED", "ROLLED_BACK")
MAY_ROLL_BACK = ("DEPLOYING", "DEPLOY_FAILED", "WATCHING", "DONE", "ROLLBACK_FAILED")
UNCHANGED_STATES = ("OPEN", "DEPLOYING", "DEPLOY_FAILED")  # the latter two while nothing was changed and nothing runs
BY_HAND = ("DEPLOYING", "DEPLOY_FAILED", *BACK)  # at a person's step, a failed one, or what was offered
CHECKS_RUN = ("OPEN", "WATCHING", "DONE")
MAY_ATTEST = tuple(state for state in DEPLOY_STATES if state not in {"ROLLED_BACK", "ABORTED"})


class States(NamedTuple):
    """In which states of the release an entry works; in all others it is refused."""

    done: tuple[str, ...]
    already: tuple[str, ...] = ()  # where the answer is that it is so already, and nothing changes
    opens: tuple[str, ...] = DEPLOY_STATES  # of a button with a form: where that opens


NOT_WHILE_CHECKS_RUN = tuple(state for state in DEPLOY_STATES if state not in CHECKS_RUN)
STATES_OF = {
    "start": States((NONE, "DONE", "ROLLED_BACK", "ABORTED")),
    "status": States(DEPLOY_STATES),
    "plan": States(STATES),
    "check": States(CHECKS_RUN),
    "check cancel": States(CHECKS_RUN, NOT_WHILE_CHECKS_RUN),
    "deploy": States(("OPEN",), ("DEPLOYING",)),
    "deploy --break-glass": States(("OPEN",), ("DEPLOYING",)),
    "rollback": States(MAY_ROLL_BACK, ("ROLLING_BACK",)),
    "abort": States(UNCHANGED_STATES, ("ABORTED",)),
    "freeze": States(STATES),
    "unfreeze": States(STATES),
    "history": States(STATES),
    "report": States(DEPLOY_STATES),
    "doctor": States(STATES),
    "help": States(STATES),
    "signoff.approve": States(("OPEN",)),
    "signoff.decline": States(("OPEN",)),
    "signoff.revoke": States(("OPEN",)),
    "release.deploy": States(("OPEN",), ("DEPLOYING",)),
    "release.abort": States(UNCHANGED_STATES, ("ABORTED",)),
    "release.rollback": States(MAY_ROLL_BACK, ("ROLLING_BACK",)),
    "check.details": States(()),
    "check.rerun": States(CHECKS_RUN),
    "check.cancel": States(CHECKS_RUN, NOT_WHILE_CHECKS_RUN),
    "section.rerun": States(CHECKS_RUN),
    "section.cancel": States(CHECKS_RUN, NOT_WHILE_CHECKS_RUN),
    "check.waive": States(("OPEN",)),
    "check.attest": States(MAY_ATTEST),
    "step.retry": States(("DEPLOY_FAILED", "ROLLBACK_FAILED")),
    "step.cancel": States(("DEPLOYING", "ROLLING_BACK")),
    "step.attest": States(BY_HAND, opens=CHANGED_STATES),
    "watch.acknowledge": States(("WATCHING",), opens=CHANGED_STATES[2:]),
    "watch.rollback": States(MAY_ROLL_BACK, ("ROLLING_BACK",)),
    "mitigation.apply": States(BACK, opens=BACK),
    "mitigation.resolve": States(BACK),
    "mitigation.attest": States(BACK, opens=BACK),
    "break_glass.review": States(("DONE", "ROLLED_BACK", "ABORTED")),
}


class Act(NamedTuple):
    """One thing that somebody can try."""

    kind: str  # command, button (acts at the click), form (a button opens it), submit (of that form)
    name: str  # what is typed after /release, or the action id
    who: tuple[str, ...]
    done_in: tuple[str, ...]
    already_in: tuple[str, ...] = ()
    role: str = ""  # of a sign-off: the role that the button names

    @property
    def title(self) -> str:
        """As the page calls it."""
        name = f"`/release {self.name}`" if self.kind == "command" else f"`{self.name}`"
        name += f" as {TITLES[self.role]}" if self.role else ""
        return name + {"form": ", the form", "submit": ", submitted"}.get(self.kind, "")


class Cell(NamedTuple):
    """What the tables say of one act by one kind of person in one state."""

    person: bool
    state: str  # done, already or refused

    @property
    def expected(self) -> str:
        """done, already, or refused."""
        return self.state if self.person else "refused"


def cell(act: Act, person: Person, state: str) -> Cell:
    """The cell of both tables together."""
    outcome = "done" if state in act.done_in else "already" if state in act.already_in else "refused"
    return Cell(person.column in act.who, outcome)


def _who(permission: Permission, role: str = "") -> tuple[str, ...]:
    """The columns of those who may, by what an entry declares."""
    if isinstance(permission, Audience):
        return {Audience.ANYBODY: EVERYBODY, Audience.MEMBER: MEMBERS, Audience.OWN_ROLE: (role,)}[permission]
    return Policy(break_glass=BreakGlassRule(allowed=True)).roles_for(permission)


def _acts_of(button: AnyButton) -> list[Act]:
    acts = []
    states = STATES_OF[button.id]
    for role in ROLES if button.permission is Audience.OWN_ROLE else ("",):
        who = _who(button.permission, role)
        if button.modal is not None:
            acts.append(Act("form", button.id, MEMBERS, states.opens, role=role))
        if states.done:
            kind = "button" if button.modal is None else "submit"
            acts.append(Act(kind, button.id, who, states.done, states.already, role))
    return acts


ACTS = (
    *(
        Act("command", word, _who(command.permission), STATES_OF[word].done, STATES_OF[word].already)
        for word, command in COMMANDS.items()
    ),
    *(act for button in BUTTONS.values() for act in _acts_of(button)),
)

COMMAND_LINE_COMMANDS = {
    "serve": "runs the bot; what it does, people have it do in Slack",
    "demo": "runs it against simulated environments only",
    "check": "asks one question of a target; one that changes data only where the target is `mutable`, and puts it back",
    "plan": "shows what a deploy would change",
    "checklist": "reads a checklist",
    "migrate": "brings the tables of the bot up to date",
    "doctor": "looks at configuration and Slack, databases, clusters and vendors",
    "audit": "verifies the record, writes an evidence pack into a file",
    "health": "asks the running bot whether it is well",
}


def page() -> str:
    """The page."""
    who = [f"| {act.title} | " + " | ".join(_mark(column in act.who) for column in TITLES) + " |" for act in ACTS]
    when = [f"| {act.title} | " + " | ".join(_when(act, state) for state in STATES) + " |" for act in ACTS]
    people = [f"| {TITLES[one.column]} | {one.description} |" for one in PEOPLE]
    command_rows = [f"| `release-bot {name}` | {does} |" for name, does in COMMAND_LINE_COMMANDS.items()]
    parts = [
        HEAD,
        "## The person\n\nA form opens for every full member: it shows only what the channel shows. Submitting it is judged.\n",
        _table(["act", *TITLES.values()], who),
        "Slack says who is who at that moment. When Slack doesn't answer, nothing is done.\n",
        _table(["column", "who that is"], people),
        "## The state of the release\n\n✓ works. ○ answers that it is so already, and changes nothing. – is refused.\n",
        _table(["act", "no release", *(f"`{state}`" for state in DEPLOY_STATES)], when),
        GATE,
        f"## The command line\n\n{COMMAND_LINE}",
        _table(["command", "what it does"], command_rows),
    ]
    return "\n".join(parts)


def _table(head: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]) + "\n"


def _mark(good: bool) -> str:
    return "✓" if good else "–"


def _when(act: Act, state: str) -> str:
    return {"done": "✓", "already": "○", "refused": "–"}[cell(act, PEOPLE[0], state).state]
