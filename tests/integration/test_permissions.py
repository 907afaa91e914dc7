"""The tables of docs/permissions.py, cell by cell: every act by every kind of person in every state of a release.

One release lives through all states. In each, everybody tries everything, and each try is taken back.
"""

import importlib
import inspect
import json
import os
import runpy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from psycopg.types.json import Jsonb

from bot import cli
from bot.domain.actor import Actor
from bot.domain.break_glass import REVIEWED_IN
from bot.domain.events import PassedReason
from bot.domain.ids import ReleaseId
from bot.domain.mitigation import MitigationState
from bot.domain.plan import StepState
from bot.domain.policy import BreakGlassRule, Policy, Role
from bot.domain.posts import CardPost
from bot.domain.release import ReleaseState
from bot.domain.view import BreakGlass
from bot.flows import abort, check, freeze, mitigation, sign, watch
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.deps import Deps
from bot.settings import Roles
from bot.slack.client import web_client
from bot.slack.dispatch import Dispatch
from bot.slack.features import BUTTONS, COMMANDS
from bot.slack.identity import Identity, Installation
from bot.store import break_glass, mitigations, posts, steps
from bot.store.pool import Store, Tx, require_row
from checks.contract import Outcome
from tests.checks.replies import Reply, Request
from tests.fix_bot import Outside, World, checklist
from tests.fix_tags import DIGEST, OTHER_DIGEST, Tags
from tests.integration.slack_bot import a_job

PAGE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "permissions.py"))
ACTS, PEOPLE, STATES, cell = PAGE["ACTS"], PAGE["PEOPLE"], PAGE["STATES"], PAGE["cell"]
HERE = Installation(team="T0SOLVE001", enterprise="E0OURS0001", bot_user="U0BOT00001")
CHANNEL, CARD, NOBODY = "C0RELEASES1", "1764000000.000001", 999_999_999
RITA_U, RITA_W = "U0RITA0001", "W0RITA0001"
# The ids under which the people of the tables click; what Slack says of each. All but the developer are named for a role.
IDS = {"release_manager": RITA_U, "release_manager_w": RITA_W, "qa": "U0QUINN001", "product": "U0PAT00001"}
IDS |= {one.key: f"U0{one.key.upper()[:5]}0001" for one in PEOPLE if one.key not in IDS}
FLAGS: dict[str, dict[str, Any]] = {
    "bot": {"is_bot": True},
    "guest": {"is_restricted": True},
    "deleted": {"deleted": True},
    "other_team": {"team_id": "T0OTHER001"},
    "stranger": {"team_id": "T0OTHER001", "is_stranger": True},
}
SECOND = {"release_manager": "U0MAX00001", "qa": "U0QUENTIN1", "product": "U0PETRA001"}  # who have signed before
OUTSIDERS = tuple(IDS[key] for key in FLAGS)
ROLES = Roles(
    release_manager=(RITA_U, SECOND["release_manager"], *OUTSIDERS),
    qa=(IDS["qa"], SECOND["qa"], *OUTSIDERS),
    product=(IDS["product"], SECOND["product"], *OUTSIDERS),
)
OFFER = {"do": "set_variable", "name": "MODE", "value": "off", "target": "nowhere"}  # nothing carries it out here
GLASS = "deploy --break-glass logins fail for all customers"
BOOKKEEPING = {"inbox", "replies", "work", "audit"}  # the delivery itself, its answer, the record
Json = dict[str, Any]


class SlackAndVendors(Tags):
    """Slack, GitHub and the registry on one socket; Slack describes each person as the table does."""

    def answer(self, request: Request) -> Reply:
        """Answer users.info for the given id, and everything else in the simplest valid way."""
        method = request.path.rpartition("/")[2]
        if method == "users.info":
            form = parse_qs(request.body.decode()) | request.query
            return Reply(200, {"ok": True, "user": _user(form["user"][0])})
        if method in {"auth.test", "views.open", "conversations.info"}:
            return Reply(
                200, {"ok": True, "team_id": HERE.team, "user_id": HERE.bot_user, "channel": {"is_member": True}}
            )
        return super().answer(request)


def _user(user: str) -> Json:
    key = next((key for key, of in IDS.items() if of == user), "")
    user_body: Json = {"id": user, "team_id": HERE.team, **FLAGS.get(key, {})}
    if user in {RITA_U, RITA_W}:
        grid = {"id": RITA_W, "enterprise_id": HERE.enterprise, "teams": [HERE.team]}
        user_body |= {"id": RITA_U, "enterprise_user": grid}
    return user_body


class RevertingStore(Store):
    """A store whose transactions can be parts of one that is rolled back, so that each try begins alike."""

    def __init__(self, url: str) -> None:
        super().__init__(url, size=2)
        self._whole: Tx | None = None

    @contextmanager
    def rolled_back(self) -> Iterator[Tx]:
        """A transaction in which everything of the block happens, and which is rolled back."""
        with super().transaction() as tx:
            self._whole = tx
            with tx.transaction(force_rollback=True):
                yield tx
            self._whole = None

    @contextmanager
    def transaction(self, *, wait: float | None = None) -> Iterator[Tx]:
        """A transaction of the store, or a part of the one in `rolled_back`."""
        if self._whole is None:
            with super().transaction(wait=wait) as tx:
                yield tx
        else:
            with self._whole.transaction():
                yield self._whole


@dataclass(frozen=True)
class Attempt:
    """One cell of the table, and the delivery that tries it."""

    act: Any
    person: Any
    expected: Any
    state: str
    kind: str
    body: Json

    @property
    def user(self) -> str:
        """The id of the person who acts."""
        return IDS[self.person.key]

    @property
    def changes_nothing(self) -> bool:
        """Whether the attempt must leave everything unchanged."""
        return (
            self.expected.expected != "done"
            or self.act.kind == "form"
            or (self.act.name in LOOKS and not self.stores_snapshot)
        )

    @property
    def stores_snapshot(self) -> bool:
        """Whether the plan is shown to somebody who may deploy, which stores a snapshot of it."""
        deployer = self.person.column in PAGE["ROLES"]
        return self.act.name == "plan" and deployer and self.state in {"OPEN", "DEPLOY_FAILED"}

    @property
    def refusal(self) -> tuple[str, str]:
        """The row of the record about the refusal."""
        return self.user, "command.refused" if self.kind == "command" else "click.refused"


@dataclass
class Trial:
    """Tries the acts on the current release and collects the results."""

    store: RevertingStore
    deps: Deps
    dispatch: Dispatch
    release: ReleaseId | None = None
    state: str = "none"
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def try_all_cells(self, state: str) -> None:
        """Try all cells of one state."""
        self.state = state
        with self.store.rolled_back() as tx:
            quiet = [
                attempt
                for act in ACTS
                for attempt in self._attempts(tx, act)
                if attempt.changes_nothing and act.name not in ACTS_WITH_PREPARATION
            ]
            self._all_quiet(tx, quiet)
        for act in ACTS:
            if act.name not in ACTS_WITH_PREPARATION and not any(
                cell(act, one, state).expected == "done" for one in PEOPLE
            ):
                continue
            with self.store.rolled_back() as tx:
                self._prepare(tx, act)
                attempts = self._attempts(tx, act)
                if act.name in ACTS_WITH_PREPARATION:
                    self._all_quiet(tx, [one for one in attempts if one.changes_nothing])
                for one in attempts:
                    if not one.changes_nothing:
                        with tx.transaction(force_rollback=True):
                            self._one_effect(tx, one)

    def _all_quiet(self, tx: Tx, attempts: list[Attempt]) -> None:
        """Attempts after which only the record of refusals and the answers have changed."""
        before, newest = everything_else(tx), head(tx)
        outcomes = self._outcomes(tx, attempts)
        for one, outcome in zip(attempts, outcomes, strict=True):
            self._compare(one, outcome)
        refusals = [
            one.refusal for one, outcome in zip(attempts, outcomes, strict=True) if outcome.startswith("refused")
        ]
        if recorded_since(tx, newest) != refusals:
            self.wrong.append(f"the record of {self.state} has other rows than refusals: {recorded_since(tx, newest)}")
        if everything_else(tx) != before:
            self.wrong.append(f"one that was to change nothing in {self.state} has changed something")

    def _one_effect(self, tx: Tx, one: Attempt) -> None:
        """An attempt that has an effect, which is on record."""
        newest = head(tx)
        (outcome,) = self._outcomes(tx, [one])
        self._compare(one, outcome)
        ours = {RITA_W} if one.user in {RITA_U, RITA_W} else {one.user}
        if not any(actor in ours and not event.endswith(".refused") for actor, event in recorded_since(tx, newest)):
            self.wrong.append(f"{one.act.title} by {one.person.key} in {self.state} has left no trace")

    def _outcomes(self, tx: Tx, attempts: list[Attempt]) -> list[str]:
        """Handle each delivery; returns the outcomes that were stored."""
        ids = []
        for one in attempts:
            put = "INSERT INTO inbox (delivery, kind, body) VALUES (gen_random_uuid()::text, %s, %s) RETURNING id"
            ids.append(require_row(tx.execute(put.encode(), [one.kind, Jsonb(one.body)]).fetchone())["id"])
        for row in ids:
            self.dispatch.execute(a_job("inbox", row))
        rows = tx.execute(b"SELECT outcome FROM inbox WHERE id = ANY(%s) ORDER BY id", [ids]).fetchall()
        return [row["outcome"] for row in rows]

    def _compare(self, one: Attempt, outcome: str) -> None:
        """Compare the outcome with the table: refused because of the person, or of the state."""
        expected_cell = one.expected
        self.counts[expected_cell.expected] += 1
        if expected_cell.expected != "refused":
            right = outcome == ("form opened" if one.act.kind == "form" else "done")
        elif not expected_cell.person and expected_cell.state == "refused":
            right = outcome.startswith("refused: ")  # either may be said
        else:
            right = outcome.startswith("refused: ") and (outcome == "refused: NotAllowed") is not expected_cell.person
        if not right:
            self.wrong.append(
                f"{one.act.title} by {one.person.key} in {self.state}: {expected_cell}, but it was {outcome}"
            )

    def _attempts(self, tx: Tx, act: Any) -> list[Attempt]:
        """The cells of an act in this state."""
        attempts = []
        for person in people_for(act, self.state):
            kind, body = self._delivery(tx, act, IDS[person.key])
            attempts.append(Attempt(act, person, cell(act, person, self.state), self.state, kind, body))
        return attempts

    # --- how each act is tried

    def _delivery(self, tx: Tx, act: Any, user: str) -> tuple[str, Json]:
        more = {"trigger_id": "t", "response_url": ""}
        if act.kind == "command":
            words = {
                "start": "start v4.9.0",
                "freeze": "freeze 2h busy",
                "rollback": "rollback errors",
                "deploy --break-glass": GLASS,
            }
            return "command", {"user_id": user, "channel_id": CHANNEL, "text": words.get(act.name, act.name), **more}
        value = json.dumps(self._payload(tx, act))
        if act.kind == "submit":
            form_state = {"values": {"reason": {"reason": {"value": "because of that"}}}}
            return "view", {
                "user": {"id": user},
                "view": {"callback_id": act.name, "private_metadata": value, "state": form_state},
                **more,
            }
        actions = [{"action_id": act.name, "value": value}]
        where = {"channel_id": CHANNEL, "message_ts": CARD}
        return "action", {"user": {"id": user}, "actions": actions, "container": where, **more}

    def _payload(self, tx: Tx, act: Any) -> Json:
        release = self.release or 1
        after = self.state not in {"none", "OPEN", "ABORTED"}
        ids = {
            "role": act.role,
            "check": self._check(act, after),
            "section": "after" if after else "go",
            "step": self._step(tx, act),
            "alarm": self._id(tx, "SELECT max(id) AS id FROM alarms WHERE release_id = %s"),
            "mitigation": self._id(tx, "SELECT max(id) AS id FROM mitigations WHERE release_id = %s"),
        }
        fields = BUTTONS[act.name].payload.model_fields
        return {"release": release, **{name: value for name, value in ids.items() if name in fields}}

    def _check(self, act: Any, after: bool) -> str:
        if act.name == "check.attest":
            return "after.notes" if after else "prep.person"
        if act.name == "check.waive":
            return "prep.first"
        return "after.health" if after else "go.one"

    def _step(self, tx: Tx, act: Any) -> int:
        """The step of the button: the one that failed, runs, waits for a person, or is offered."""
        conditions = {
            "step.retry": "state = 'failed'",
            "step.cancel": "state = 'running'",
            "mitigation.apply": "step_id = 'rollback.billing'",
        }
        open_one = "min(id) FILTER (WHERE state IN ('to_attest', 'failed'))"
        expression = (
            f"coalesce({open_one}, max(id))" if act.name not in conditions else "max(id)"
        )  # an old button, where none is
        return self._id(
            tx, f"SELECT {expression} AS id FROM steps WHERE release_id = %s AND {conditions.get(act.name, 'true')}"
        )

    def _id(self, tx: Tx, query: str) -> int:
        return int(require_row(tx.execute(query.encode(), [self.release or 0]).fetchone())["id"] or NOBODY)

    def _prepare(self, tx: Tx, act: Any) -> None:
        """Create what the act needs, in the states in which it is possible."""
        again = "cancel" in act.name and act.name != "step.cancel"
        if again and self.state in PAGE["CHECKS_RUN"] and self.release:
            check.rerun(tx, self.deps, SIGNERS["qa"], self.release, "all")
        if act.name == "unfreeze":
            freeze.freeze(tx, self.deps, SIGNERS["release_manager"], None, "busy")
        if act.name == "step.cancel":
            pending = tx.execute(b"SELECT id FROM steps WHERE release_id = %s AND state = 'pending'", [self.release])
            for row in pending.fetchall()[:1] if self.state in act.done_in else ():
                assert steps.start(tx, row["id"], self.deps.clock.now())
        if (
            act.name == "deploy --break-glass" and self.state == "OPEN" and self.release
        ):  # or there is nothing to pass over
            sign.revoke(tx, self.deps, SIGNERS["release_manager"], self.release, Role.RELEASE_MANAGER)
        if act.name == "break_glass.review" and self.state in REVIEWED_IN and self.release:
            overridden = (
                PassedReason(
                    cause="signoff_missing", about="release_manager", text="Release Manager has not signed off"
                ),
            )
            by = SIGNERS["release_manager"].user
            break_glass.add(tx, self.release, BreakGlass(by, GLASS, overridden, self.deps.clock.now()))
        if act.name in {"mitigation.resolve", "mitigation.attest"} and self.state in act.done_in and self.release:
            step = self._step(tx, next(one for one in ACTS if one.name == "mitigation.apply"))
            mitigation.apply(tx, self.deps, SIGNERS["qa"], step, "billing is wrong")
            (entry,) = mitigations.of_release(tx, self.release)
            assert mitigations.move(tx, entry, MitigationState.SET, self.deps.clock.now())
            if act.name == "mitigation.attest":
                mitigations.say(tx, entry.id, trouble="the Deployment is gone")


SIGNERS = {key: Actor(_user(user)["id"], frozenset({Role(key)})) for key, user in SECOND.items()}
LOOKS = ("status", "plan", "history", "doctor", "help")
ACTS_WITH_PREPARATION = (
    "check cancel",
    "check.cancel",
    "section.cancel",
    "unfreeze",
    "step.cancel",
    "mitigation.resolve",
    "mitigation.attest",
    "deploy --break-glass",
    "break_glass.review",
)


def people_for(act: Any, state: str) -> list[Any]:
    """The people who try an act in a state: everybody in OPEN. In other states those with the same cell take turns, so
    that each tries every act and is in every state. With RELEASE_BOT_EVERY_CELL everybody tries everything, in three
    times the time.
    """
    if state == "OPEN" or "RELEASE_BOT_EVERY_CELL" in os.environ:
        return list(PEOPLE)
    alike: dict[tuple[bool, bool], list[Any]] = {}
    for person in PEOPLE:
        alike.setdefault((person.column in PAGE["ROLES"], person.column in act.who), []).append(person)
    turn = STATES.index(state) + ACTS.index(act)
    members = [one for one in PEOPLE if one.column == "member"]
    people = [group[turn % len(group)] for group in alike.values()]
    return people + [one for one in members if one not in people]


def recorded_since(tx: Tx, newest: int) -> list[tuple[str, str]]:
    """Actor and event of the rows of the record after the given one."""
    rows = tx.execute(b"SELECT actor, event FROM audit WHERE seq > %s ORDER BY seq", [newest]).fetchall()
    return [(row["actor"], row["event"]) for row in rows]


def head(tx: Tx) -> int:
    """The number of the newest row of the record."""
    return int(require_row(tx.execute(b"SELECT coalesce(max(seq), 0) AS seq FROM audit").fetchone())["seq"])


def everything_else(tx: Tx) -> str:
    """A checksum of all tables but the record and what belongs to a delivery itself."""
    tables = [
        row["t"] for row in tx.execute(b"SELECT quote_ident(tablename) AS t FROM pg_tables WHERE schemaname = 'public'")
    ]
    parts = [f"SELECT '{t}' AS t, to_jsonb({t})::text AS row FROM {t}" for t in tables if t not in BOOKKEEPING]
    query = f"SELECT md5(string_agg(t || row, ',' ORDER BY t, row)) AS sum FROM ({' UNION ALL '.join(parts)}) every"
    return str(require_row(tx.execute(query.encode()).fetchone())["sum"])


@pytest.fixture
def slack_and_vendors() -> Iterator[SlackAndVendors]:
    """Slack and the vendors."""
    with SlackAndVendors() as running:
        yield running


@pytest.fixture
def trial(world: World, slack_and_vendors: SlackAndVendors) -> Iterator[Trial]:
    """All people on the database of the world."""
    person, ask = {"do": "attest"}, {"do": "check", "kind": "ask"}
    deploys = (
        {"id": "deploy.health", "title": "Health", "by_hand": True, "action": ask},
        {"id": "deploy.tag", "title": "Tag", "action": person},
        {"id": "deploy.smoke", "title": "Smoke", "action": ask},
    )
    rollbacks = (
        {"id": "rollback.frontend", "title": "Frontend", "action": person},
        {"id": "rollback.health", "title": "Back", "by_hand": True, "action": ask},
        {"id": "rollback.billing", "title": "Off", "action": OFFER},
    )
    policy = Policy(break_glass=BreakGlassRule(allowed=True))
    world.change(
        checklist=checklist(deploy=deploys, rollback=rollbacks), sources=slack_and_vendors.sources(), policy=policy
    )
    store = RevertingStore(world.store.url)
    store.open()
    store.instance = world.store.instance
    client = web_client("xoxb-1", slack_and_vendors.url + "/")
    deps = replace(world.deps, store=store)
    yield Trial(store, deps, Dispatch(deps, client, Identity(client, ROLES, HERE)))
    store.close()


def run_lifecycle(world: World, outside: Outside, at: Callable[[ReleaseId | None, str], None]) -> None:
    """Bring one release through every state, and abort a second one; ``at`` is called in each state."""
    manager, qa, product = (SIGNERS[key] for key in ("release_manager", "qa", "product"))
    at(None, "none")
    release = world.start(actor=manager)
    world.run("check")
    for actor in (manager, qa, product):
        world.approve(release, actor)
    mark_as_posted(world, release, CARD)
    at(release, "OPEN")
    outside.answers["deploy.health"] = Outcome.FAIL
    world.deploy(qa, release)
    world.run("advance")
    at(release, "DEPLOY_FAILED")
    retry(world, outside, release)
    at(release, "DEPLOYING")
    attest_next_step(world, release)
    world.run("check")
    outside.issues.append("API-1")
    world.poll()
    at(release, "WATCHING")
    outside.issues.clear()
    (alarm,) = world.rows("SELECT id FROM alarms")
    world.act(watch.acknowledge, qa, alarm["id"], "seen")
    world.clock.advance(minutes=16)
    world.poll()
    at(release, "DONE")
    world.act(judge_rollback, qa, release, "errors")
    world.run("advance")
    at(release, "ROLLING_BACK")
    outside.answers["rollback.health"] = Outcome.FAIL
    attest_next_step(world, release)
    at(release, "ROLLBACK_FAILED")
    retry(world, outside, release)
    at(release, "ROLLED_BACK")
    world.rows("UPDATE posts SET ts = NULL WHERE ts = %s RETURNING id", CARD)
    second = world.start("v4.8.1", actor=manager)
    mark_as_posted(world, second, CARD)
    world.act(abort.abort, manager, second, "enough")
    at(second, "ABORTED")


def attest_next_step(world: World, release: ReleaseId) -> None:
    """A person attests the step that the plan waits for, and the plan continues."""
    step = world.view(release).awaited_step
    assert step is not None
    world.act(step_clicks.attest, SIGNERS["qa"], step.row, "done")
    world.run("advance")


def retry(world: World, outside: Outside, release: ReleaseId) -> None:
    """Retry the failed step, which works now."""
    outside.answers.clear()
    (failed_step,) = [step for step in world.view(release).steps if step.state is StepState.FAILED]
    world.act(step_clicks.retry, SIGNERS["qa"], failed_step.row)
    world.run("advance")


def mark_as_posted(world: World, release: ReleaseId, ts: str) -> None:
    """Store that the card is in Slack."""
    with world.store.transaction() as tx:
        card = posts.find(tx, release, CardPost())
        assert card is not None
        posts.record_posting(
            tx, card.id, ts=ts, permalink="https://example.com/p", content="", is_pinned=True, at=world.clock.now()
        )


@pytest.mark.slow
def test_every_cell_of_the_table_is_true(
    world: World, outside: Outside, slack_and_vendors: SlackAndVendors, trial: Trial
) -> None:
    """An attempt ends as the page says, and a refused one changes nothing but the record and the answer."""

    def at(release: ReleaseId | None, state: str) -> None:
        if release is not None:
            assert world.view(release).release.state == state
        trial.release = release
        over = state in {"DONE", "ROLLED_BACK", "ABORTED"}
        slack_and_vendors.digest = (
            OTHER_DIGEST if over else DIGEST
        )  # v4.9.0 is no image that runs already, or is known bad
        trial.try_all_cells(state)

    run_lifecycle(world, outside, at)
    assert trial.wrong == []
    assert trial.counts.total() == sum(len(people_for(act, state)) for act in ACTS for state in STATES)


def test_the_table_has_every_command_button_and_state() -> None:
    """The page has every entry, and what only shows something is never marked as done."""
    assert set(PAGE["STATES_OF"]) == {*BUTTONS, *COMMANDS}
    read_only = {button.id for button in BUTTONS.values() if button.run is None and button.prepare is None}
    assert {name for name, states in PAGE["STATES_OF"].items() if not states.done} == read_only
    assert STATES[1:] == tuple(ReleaseState)


def test_the_command_line_acts_for_nobody() -> None:
    """No command of the command line reaches a flow that acts for a person."""
    assert set(PAGE["COMMAND_LINE_COMMANDS"]) == set(cli.COMMANDS)
    modules = [importlib.import_module(f"bot.cli.{command}") for command in cli.COMMANDS]
    values = [value for module in modules for value in vars(module).values()]
    all_values = [*values, *(value for module in values if inspect.ismodule(module) for value in vars(module).values())]
    flows = [one for one in all_values if inspect.isfunction(one) and one.__module__.startswith("bot.flows")]
    assert flows
    assert [flow.__qualname__ for flow in flows if "actor" in inspect.signature(flow).parameters] == []
