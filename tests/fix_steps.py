"""What the tests of steps need: a journal in a list, a harness around one Target, and a repository of files."""

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from bot.domain.actions import RunCheck, StepSpec
from bot.domain.ids import StepId
from bot.domain.plan import Mutation
from bot.errors import Contradicted
from bot.steps.contract import ReleaseReference, StepContext, StepInspection, step_errors
from bot.steps.registry import bound_clients
from checks.contract import Answer
from clients.connections import Clients
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request

COMMIT = "c0ffee" * 6 + "c0ff"  # what is released


def sha256(text: str) -> str:
    """The checksum as the product's own table of migrations has it."""
    return hashlib.sha256(text.encode()).hexdigest()


class Repository(Replies):
    """GitHub's contents of o/r: a folder as of the last release and as of COMMIT, and other files by path."""

    def __init__(
        self, folder: str, *, last: Mapping[str, str], now: Mapping[str, str], others: Mapping[str, str]
    ) -> None:
        super().__init__({})
        self._folder = folder
        self.last, self.now, self.others = dict(last), dict(now), dict(others)

    def answer(self, request: Request) -> Reply:
        """The listing of the folder, or a file."""
        self.requests.append(request)
        path = request.path.removeprefix("/repos/o/r/contents/")
        files = self.now if request.query["ref"] == [COMMIT] else self.last
        if path == self._folder:
            listing = [{"type": "file", "name": name, "sha": sha256(text)} for name, text in files.items()]
            return Reply(200, listing)
        text = self.others.get(path) or files.get(path.removeprefix(f"{self._folder}/"))
        if text is None:
            return Reply(404, {})
        return Reply(200, {"encoding": "base64", "content": base64.b64encode(text.encode()).decode()})


class Notes:
    """The journal of a step in a list."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.first: dict[str, object] = {}
        self.on_intent: Callable[[], None] = lambda: None
        self.on_log: Callable[[], None] = lambda: None
        self.on_progress: Callable[[], None] = lambda: None

    def record_intent(self, changes: Sequence[Mutation]) -> None:
        self.lines.append(("intent", {"changes": list(changes)}))
        self.on_intent()

    def record_observation(self, **body: object) -> None:
        self.lines.append(("observed", body))

    def record_refusal(self, changes: Sequence[Mutation]) -> None:
        self.lines.append(("unmade", {"changes": list(changes)}))

    def observations(self) -> list[dict[str, object]]:
        return [body for kind, body in self.lines if kind == "observed"]

    def has_intent(self) -> bool:
        return any(kind == "intent" for kind, _ in self.lines)

    def record_action(self, **body: object) -> None:
        self.lines.append(("acted", body))

    def record_state_before(self, **body: object) -> None:
        self.first = self.first or body

    def show_progress(self, line: str) -> None:
        self.lines.append(("progress", {"line": line}))
        self.on_progress()

    def attach_log(self, name: str, title: str, text: str) -> None:
        self.on_log()
        self.lines.append(("log", {"name": name, "title": title, "text": text}))

    def kinds(self) -> list[str]:
        """The kinds of all entries except progress."""
        return [kind for kind, _ in self.lines if kind != "progress"]

    def intents(self) -> list[Mutation]:
        """What the step announced to change, each change once."""
        changes = [change for kind, body in self.lines if kind == "intent" for change in body["changes"]]  # type: ignore[attr-defined]
        return list(dict.fromkeys(changes))


class RecordedPauses(threading.Event):
    """A ``cancelled`` event that is never set: it returns at once and keeps how long each pause would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return False


def refuse_check(action: RunCheck) -> Answer:
    """Fail the test: no step that is tested with StepHarness runs a check."""
    raise AssertionError(action)


class StepHarness:
    """Runs one step with clients, a Target and a journal."""

    def __init__(self, target: Target, reference: ReleaseReference) -> None:
        self.target, self.reference = target, reference
        self.rollback_target: Mapping[str, Any] | None = None
        self.notes = Notes()
        self.cancelled = threading.Event()
        self.attempt = 1

    def context(self, clients: Clients, seconds: float = 20) -> StepContext:
        """The context of the step."""
        return StepContext(
            id=StepId("deploy.one"),
            reference=self.reference,
            target=self.target,
            clients=clients,
            rollback_target=self.rollback_target,
            deadline=time.monotonic() + seconds,
            cancelled=self.cancelled,
            run_check=refuse_check,
            redact=lambda text: text,
            journal=self.notes,
            attempt=self.attempt,
        )

    def perform(self, perform: Callable[[Any, StepContext], str], spec: Any, seconds: float = 20) -> str:
        """Carry out the step."""
        with self._clients(spec, acts=True) as clients, step_errors():
            return perform(spec, self.context(clients, seconds))

    def contradiction_of(self, confirm: Callable[[Any, StepInspection], str], spec: Any) -> str:
        """The message to a person who confirms a step that is not done."""
        with pytest.raises(Contradicted) as error:
            self.inspect(confirm, spec)
        return error.value.user_message

    def inspect(self, look: Callable[[Any, StepInspection], Any], spec: Any) -> Any:
        """Run the preview, the record or the confirm function of the step."""
        with self._clients(spec, acts=False) as clients, step_errors():
            return look(spec, self.context(clients))

    @contextmanager
    def _clients(self, spec: Any, *, acts: bool) -> Iterator[Clients]:
        with Clients(self.target) as clients:
            yield bound_clients(clients, StepSpec(id=StepId("deploy.one"), title="One", action=spec), acts=acts)
