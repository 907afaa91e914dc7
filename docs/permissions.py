"""The page docs/reference/permissions.md: who may do what in which state of a release; a test drives every cell of it."""  # noqa: INP001  beside a script

from __future__ import annotations

from typing import NamedTuple

HEAD = """# Who may do what, and when

<!-- Written by docs/generate.py from docs/permissions.py. Do not edit. -->

Something is done when **both** tables say so: the first for the person, the second for the state of the release. It is
asked at the moment of the click, of Slack and of the database; the button that was pressed proves nothing. Whatever is
refused changes nothing, is answered in private, and stands in the record with the reason.

This is the default policy, but for `break_glass: {allowed: true}`: by default that is refused to everybody. `policy.may` and
`policy.lines` of the [configuration](configuration.md) move the rights of the first table between the three roles; no
setting gives them to somebody without a role. The test
[tests/integration/test_permissions.py](../../tests/integration/test_permissions.py) tries every act in every state and
compares with these tables: in `OPEN` as everybody, elsewhere those of whom the tables say the same take turns. With
`RELEASE_BOT_EVERY_CELL=1` everybody tries everything everywhere.
"""
GATE = """`release.deploy` and `/release deploy` then ask the gate, which lists every reason against it: checks, sign-offs, four eyes,
freeze, an image that was rolled back before ([Architecture](../explanation/architecture.md)). `/release deploy --break-glass`
asks it too, and passes over [some of the reasons](../howto/break-glass.md); whoever broke the glass cannot review it.
In a freeze a failed step of a deploy is not retried either; a rollback works. `/release rollback` means the newest release whose
deploy was begun, also beside one that is `OPEN`: whoever may roll back aborts that one with it
([Roll back](../howto/roll-back.md)). `release.abort` and `/release abort` of a deploy: only where it has changed nothing, and stands
at a step that failed or is a person's. `check.attest` takes a line of before the deploy in `OPEN` only. `check.waive`
refuses a line that can never be waived.
"""
COMMAND_LINE = """Whoever has the machine's shell and the bot's configuration can use the command line. It knows no person,
so nothing in it starts, signs, waives, deploys or takes back a release: there is no such command, with no option.
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
    """One kind of person, by what Slack says of them."""

    key: str
    stands_for: str  # a column of the first table
    known_by: str  # in words, for the page


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


class Act(NamedTuple):
    """One thing that somebody can try."""

    kind: str  # command, button (acts at the click), form (a button opens it), submit (of that form)
    name: str  # what is typed after /release, or the action id
    who: tuple[str, ...]
    done_in: tuple[str, ...]
    said_in: tuple[str, ...] = ()  # where the answer is that it is so already, and nothing changes
    role: str = ""  # of a sign-off: the role that the button names

    @property
    def title(self) -> str:
        """As the page calls it."""
        text = f"`/release {self.name}`" if self.kind == "command" else f"`{self.name}`"
        text += f" as {TITLES[self.role]}" if self.role else ""
        return text + {"form": ", the form", "submit": ", submitted"}.get(self.kind, "")


class Cell(NamedTuple):
    """What the tables say of one act by one kind of person in one state."""

    person: bool
    state: str  # done, said or refused

    @property
    def expected(self) -> str:
        """done, said, or refused."""
        return self.state if self.person else "refused"


def cell(act: Act, person: Person, state: str) -> Cell:
    """The cell of both tables together."""
    there = "done" if state in act.done_in else "said" if state in act.said_in else "refused"
    return Cell(person.stands_for in act.who, there)


def _signing(role: str) -> tuple[Act, ...]:
    return (
        Act("button", "signoff.approve", (role,), ("OPEN",), role=role),
        Act("form", "signoff.decline", MEMBERS, DEPLOY_STATES, role=role),
        Act("submit", "signoff.decline", (role,), ("OPEN",), role=role),
        Act("button", "signoff.revoke", (role,), ("OPEN",), role=role),
    )


def _form(
    name: str, who: tuple[str, ...], opens_in: tuple[str, ...], done_in: tuple[str, ...], said_in: tuple[str, ...] = ()
) -> tuple[Act, ...]:
    return (Act("form", name, MEMBERS, opens_in), Act("submit", name, who, done_in, said_in))


_REST = tuple(state for state in DEPLOY_STATES if state not in CHECKS_RUN)
MANAGER = ("release_manager",)
ACTS = (
    Act("command", "start", MANAGER, (NONE, "DONE", "ROLLED_BACK", "ABORTED")),
    Act("command", "status", MEMBERS, DEPLOY_STATES),
    Act("command", "plan", MEMBERS, STATES),
    Act("command", "check", ROLES, CHECKS_RUN),
    Act("command", "check cancel", ROLES, CHECKS_RUN, _REST),
    Act("command", "deploy", ROLES, ("OPEN",), ("DEPLOYING",)),
    Act("command", "deploy --break-glass", MANAGER, ("OPEN",), ("DEPLOYING",)),
    Act("command", "rollback", ROLES, MAY_ROLL_BACK, ("ROLLING_BACK",)),
    Act("command", "abort", ROLES, UNCHANGED_STATES, ("ABORTED",)),
    Act("command", "freeze", MANAGER, STATES),
    Act("command", "unfreeze", MANAGER, STATES),
    Act("command", "history", MEMBERS, STATES),
    Act("command", "report", MEMBERS, DEPLOY_STATES),
    Act("command", "doctor", MEMBERS, STATES),
    Act("command", "help", EVERYBODY, STATES),
    *(act for role in ROLES for act in _signing(role)),
    Act("button", "release.deploy", ROLES, ("OPEN",), ("DEPLOYING",)),
    *_form("release.abort", ROLES, DEPLOY_STATES, UNCHANGED_STATES, ("ABORTED",)),
    *_form("release.rollback", ROLES, DEPLOY_STATES, MAY_ROLL_BACK, ("ROLLING_BACK",)),
    Act("form", "check.details", MEMBERS, DEPLOY_STATES),
    Act("button", "check.rerun", ROLES, CHECKS_RUN),
    Act("button", "check.cancel", ROLES, CHECKS_RUN, _REST),
    Act("button", "section.rerun", ROLES, CHECKS_RUN),
    Act("button", "section.cancel", ROLES, CHECKS_RUN, _REST),
    *_form("check.waive", MANAGER, DEPLOY_STATES, ("OPEN",)),
    *_form("check.attest", ROLES, DEPLOY_STATES, MAY_ATTEST),
    Act("button", "step.retry", ROLES, ("DEPLOY_FAILED", "ROLLBACK_FAILED")),
    Act("button", "step.cancel", ROLES, ("DEPLOYING", "ROLLING_BACK")),
    *_form("step.attest", ROLES, CHANGED_STATES, BY_HAND),
    *_form("watch.acknowledge", ROLES, CHANGED_STATES[2:], ("WATCHING",)),
    *_form("watch.rollback", ROLES, DEPLOY_STATES, MAY_ROLL_BACK, ("ROLLING_BACK",)),
    *_form("mitigation.apply", ROLES, BACK, BACK),
    Act("button", "mitigation.resolve", ROLES, BACK),
    *_form("mitigation.attest", ROLES, BACK, BACK),
    *_form("break_glass.review", ROLES, DEPLOY_STATES, ("DONE", "ROLLED_BACK", "ABORTED")),
)  # fmt: skip

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
    people = [f"| {TITLES[one.stands_for]} | {one.known_by} |" for one in PEOPLE]
    command_rows = [f"| `release-bot {name}` | {does} |" for name, does in COMMAND_LINE_COMMANDS.items()]
    parts = [
        HEAD,
        "## The person\n\nA form opens for every full member, as it shows only what the channel shows; its submission is judged.\n",
        _table(["act", *TITLES.values()], who),
        "Who is who, as Slack says at that moment. When Slack does not say, nothing is done.\n",
        _table(["column", "who that is"], people),
        "## The state of the release\n\n✓ is done. ○ is answered: it is so already, and nothing changes. – is refused.\n",
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
    return {"done": "✓", "said": "○", "refused": "–"}[cell(act, PEOPLE[0], state).state]
