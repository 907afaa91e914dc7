"""The process that is killed: carries out plans as `release-bot serve` does, with the same workers, without Slack.

Each is forked from a process that has imported all of it, so a start costs milliseconds; it is a process like any other.
`python -m tests.killing.worker` reads Addresses as JSON, one on each line, forks for each, and prints the number of the process.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from bot.clock import SharedClock
from bot.domain.policy import Policy
from bot.domain.watch import WatchTimes
from bot.flows import mitigation
from bot.flows.deploying import advance
from bot.flows.deps import Deps, Job
from bot.steps.sources import Sources
from bot.store.pool import Store
from bot.workers import Handler, Queue, Workers
from clients.cluster import KUBE_PACKAGES
from clients.http import certificates
from clients.packages import load
from clients.settings import GitHubSettings, Kubernetes, RegistrySettings
from clients.target import Target
from tests.fix_bot import Outside, checklist, kinds
from tests.fix_demo import until
from tests.fix_vendors import github_settings, vercel_settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addresses:
    """Where a process reaches the systems outside of it."""

    database_url: str
    kubeconfig: str
    namespace: str
    product_url: str
    github_url: str
    vercel_url: str
    outcome_file: str  # file in which it notes how each piece of work has ended: "done", or the name of the error


class ProcessServer:
    """Starts processes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._guard = threading.Lock()

    def start(self, addresses: Addresses) -> "Worker":
        """Start a process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._guard:
            self._process.stdin.write(json.dumps(asdict(addresses)) + "\n")
            self._process.stdin.flush()
            return Worker(int(self._process.stdout.readline()))


@contextlib.contextmanager
def process_server() -> Iterator[ProcessServer]:
    """A process that starts others, for the length of a block."""
    command = [sys.executable, "-m", "tests.killing.worker"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield ProcessServer(process)


class Worker:
    """A running process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def is_alive(self, seconds: float = 0) -> bool:
        """Whether it is still alive; waits up to ``seconds`` for its end."""
        return not select.select([self._handle], [], [], seconds)[0]

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        signal.pidfd_send_signal(self._handle, number)

    def stop(self) -> None:
        """Stop the process with SIGSTOP, and wait until it has stopped."""
        self.send(signal.SIGSTOP)
        state = Path(f"/proc/{self.pid}/stat")
        until(lambda: state.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T", "the process to stop")

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait for its end."""
        self.send(signal.SIGKILL)
        select.select([self._handle], [], [])

    def end(self) -> None:
        """Kill the process if it is still alive."""
        if self.is_alive():
            self.kill()
        os.close(self._handle)


def main() -> None:
    """Fork a worker for each line of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    # Imported and read once, before the processes are forked: a second and more in all.
    load(*KUBE_PACKAGES)
    certificates()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _work(Addresses(**json.loads(line)))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _work(addresses: Addresses) -> None:
    store = Store(addresses.database_url, size=4)
    store.open()
    store.join()
    cluster = Kubernetes(
        kubeconfig=addresses.kubeconfig, namespace=addresses.namespace, deployment="web", container="main"
    )
    deps = Deps(
        store=store,
        clock=SharedClock(store.now),
        environment="production",
        channel="C0RELEASES1",
        checklist=checklist(),
        policy=Policy(),
        targets={
            "production": Target(
                name="production",
                kubernetes=cluster,
                migrate_database_url=SecretStr(addresses.product_url),
                github=github_settings(addresses.github_url),
                vercel=vercel_settings(addresses.vercel_url),
            )
        },
        sources=Sources(GitHubSettings(), RegistrySettings()),
        registry=kinds(Outside()),
        watch=WatchTimes(
            length=timedelta(minutes=15),
            interval=timedelta(seconds=30),
            settle_time=timedelta(0),
            no_answer_limit=timedelta(minutes=5),
        ),
        redact=lambda text: text,
    )

    def with_outcome_noted(carry_out: Callable[[Deps, Job], datetime | None]) -> Handler:
        def handler(job: Job) -> datetime | None:
            outcome = "done"
            try:
                return carry_out(deps, job)
            except BaseException as error:
                outcome = type(error).__name__
                raise
            finally:
                with Path(addresses.outcome_file).open("a", encoding="utf-8") as file:
                    file.write(f"{outcome}\n")

        return handler

    queues = [
        Queue("advance", 1, with_outcome_noted(advance.execute)),
        Queue(mitigation.QUEUE, 1, with_outcome_noted(mitigation.execute)),
    ]
    Workers(store, deps.clock, queues).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
