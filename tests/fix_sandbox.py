"""Fixtures: the sandbox as a process of its own, on the run's PostgreSQL, with all its switches off for each test."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.http import certificates

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
STOP_SECONDS = 20
SWITCH_SECONDS = 40  # pods may have to restart before a switch shows
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Sandbox:
    """A running sandbox; each fact of its ready line is a key and an attribute: `sandbox["s3"]`, `sandbox.s3`."""

    def __init__(self, data_dir: Path, postgres_url: str, *options: str, prefix: str, env: Mapping[str, str]) -> None:
        """Start one and wait for its ready line; AssertionError with the end of its log when it does not come."""
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "sandbox", "--data-dir", str(data_dir), "--postgres-url", postgres_url]
        command += ["--database-prefix", prefix, "--exit-with-stdin", *options]
        environment = {key: value for key, value in os.environ.items() if key.lower() not in PROXIES}
        environment |= {"PYTHONFAULTHANDLER": "1", **env}
        self.log = data_dir / "sandbox.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise AssertionError("the sandbox did not start: " + self._end_of_log())
        self.facts: dict[str, Any] = json.loads(line)
        self._client = httpx.Client(
            base_url=self.facts["control_url"], timeout=SWITCH_SECONDS, trust_env=False, verify=certificates()
        )

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError as exc:
            raise AttributeError(name) from exc

    def control(self, method: str, path: str, json: Any = None) -> Any:
        """Call the control API (`path` below /sandbox/) and return its JSON; httpx.HTTPStatusError for a refusal."""
        answer = self._client.request(method, path, json=json)
        answer.raise_for_status()
        return answer.json()

    def switch(self, name: str, on: bool) -> None:
        """Set one switch; returns when the sandbox shows it."""
        self.control("PUT", f"faults/{name}", {"on": on})

    @contextlib.contextmanager
    def fault(self, name: str, on: bool = True) -> Iterator[None]:
        """Set one switch for the length of a block."""
        self.switch(name, on)
        try:
            yield
        finally:
            self.switch(name, not on)

    def reset(self) -> None:
        """Switch everything off that is on."""
        for fault in self.control("GET", "faults")["faults"]:
            if fault["on"]:
                self.switch(fault["name"], False)

    def stop(self) -> int:
        """Stop the sandbox by closing its standard input, and return its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        if "_client" in self.__dict__:
            self._client.close()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as exc:
            self.process.send_signal(signal.SIGABRT)  # faulthandler then writes where every thread is
            self.process.wait()
            raise AssertionError("the sandbox does not stop: " + self._end_of_log()) from exc

    def _end_of_log(self) -> str:
        return self.log.read_text(encoding="utf-8")[-6000:]


def send_event(sandbox: Sandbox, event: dict[str, Any]) -> None:
    """Send an event to the sandbox's Sentry as an SDK does; it can be read a moment later."""
    dsn = httpx.URL(sandbox["sentry"]["dsn"])
    items = [{"event_id": uuid.uuid4().hex}, {"type": "event"}, event]
    answer = httpx.post(
        f"http://{dsn.host}:{dsn.port}/api{dsn.path}/envelope/",
        headers={"X-Sentry-Auth": f"Sentry sentry_key={dsn.userinfo.decode()}"},
        content="\n".join(json.dumps(item) for item in items),
        verify=certificates(),
    )
    answer.raise_for_status()


@pytest.fixture(scope="session")
def running_sandbox(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox per test process, with databases of its own and no limit on log-ins."""
    sandbox = Sandbox(
        tmp_path_factory.mktemp("sandbox"),
        postgres_url,
        prefix=f"sandbox_{uuid.uuid4().hex[:12]}",
        env={"E2E_BYPASS_RATE_LIMIT": "1"},
    )
    yield sandbox
    assert sandbox.stop() == 0


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox, with every switch off again after the test."""
    yield running_sandbox
    running_sandbox.reset()
