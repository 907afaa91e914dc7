"""A vendor that answers 200 with JSON of another form than its API promises: ERROR that names it, for every kind that asks one."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks.contract import Outcome, Subject
from checks.registry import Registry
from checks.runner import run_check
from clients.connections import Clients
from tests.checks.replies import Replies, Reply, Request
from tests.contract.kind_cases import CASES, Case
from tests.fix_checks import Vendor, context, target_of, with_vendor_at
from tests.fix_sandbox import Sandbox

REGISTRY = Registry.load()
NAMES: dict[Vendor, str] = {
    "kube": "Kubernetes",
    "grafana": "Grafana",
    "github": "GitHub",
    "sentry": "Sentry",
    "stripe": "Stripe",
}
KINDS = sorted(kind for kind, cases in CASES.items() if isinstance(down := cases["down"], Case) and down.down in NAMES)
FORMS: dict[str, Any] = {
    "nothing": None,
    "number": 7,
    "empty": {},
    "hollow": {
        **{key: [{}] for key in ("items", "data", "timeSeries", "commits")},
        "dashboard": {"panels": [{"type": "graph", "targets": [{}]}]},
        "metadata": {},
        "status": {},
        "spec": {"jobTemplate": {}},
    },
    "wrong": {
        **dict.fromkeys(("items", "data", "timeSeries", "metadata", "spec", "status", "results", "eventID"), 7),
        "dashboard": {"panels": [7]},
    },
}


class StrangeVendor(Replies):
    """A vendor that answers everything with the same JSON."""

    def __init__(self, body: Any) -> None:
        super().__init__({})
        self._body = json.dumps(body).encode()

    def answer(self, request: Request) -> Reply:
        """Answer every request alike."""
        return Reply(200, self._body, {"Content-Type": "application/json"})


@pytest.fixture(scope="module", params=FORMS)
def strange_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of such a vendor."""
    with StrangeVendor(FORMS[request.param]) as server:
        yield server.url


@pytest.mark.parametrize("name", KINDS)
def test_a_strange_answer_is_an_error_that_names_the_vendor(
    name: str, strange_url: str, running_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A strange answer is no verdict and no fault of the check, and the summary names the vendor."""
    green, down = CASES[name]["green"], CASES[name]["down"]
    assert isinstance(green, Case)
    assert isinstance(down, Case)
    assert down.down
    kind, vendor = REGISTRY.get(name), down.down
    target = with_vendor_at(target_of(running_sandbox.facts, green.on), vendor, strange_url, tmp_path)
    params = kind.params.model_validate(green.params() if callable(green.params) else green.params)
    subject = Subject(green.version, "0123456789abcdef") if green.version else Subject()
    with Clients(target, http_timeout=5) as clients:
        ctx = context(target, clients, needs=dict(green.needs), deadline=time.monotonic() + 5, subject=subject)
        answer = run_check(kind, params, ctx, redact=lambda text: text).answer

    assert answer.outcome is Outcome.ERROR, answer.summary
    assert NAMES[vendor] in answer.summary
    assert answer.hint
    assert not answer.summary.startswith("unexpected "), answer.summary
