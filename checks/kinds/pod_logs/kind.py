"""pod_logs: are all pods of the Deployment up, and are the logs of every container free of errors?"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from checks.kinds.pod_logs.log_lines import error_in
from clients.needs import READ_LOGS, Need, Reads
from clients.pods import (
    READS_PODS,
    STARTING,
    end_of_words,
    newest_pods,
    not_available,
    read_log,
    settled_deployment,
)
from clients.target import require

if TYPE_CHECKING:
    from checks.contract import CheckContext
    from clients.cluster import KubeClients

TRACEBACK_LINES = 25  # lines kept after the head of a traceback
LOG_LIMIT = 20 * 1024 * 1024  # bytes of one container's log
QUIET_TAIL = 200  # lines read whatever their age, from a container that said nothing within the window


class PodLogsParams(Params):
    """How far to look back, and which lines are known."""

    since_minutes: int = Field(default=60, ge=1, description="How far to look back.")
    from_start: bool = Field(
        default=False, description="Read the log of each running container from its start on, however long ago that is."
    )
    allow: tuple[str, ...] = Field(
        default=(), description="Regular expressions; a line that matches one is not an error."
    )

    start_lines: tuple[str, ...] = Field(
        default=(),
        description="Texts that the product prints at its start: each of its pods must have printed them. Needs from_start.",
    )

    @field_validator("allow")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as exc:
                raise ValueError(f"{pattern!r} isn't a regular expression: {exc}") from exc
        return patterns

    @model_validator(mode="after")
    def _sees_the_start(self) -> PodLogsParams:
        """A window of minutes has left the start behind as soon as somebody asks again."""
        if self.start_lines and not self.from_start:
            raise ValueError("start_lines are at the start of a log: set from_start: true")
        return self


@dataclass
class _Findings:
    """What was seen so far."""

    troubles: list[str] = field(default_factory=list)  # of pods and containers
    errors: list[str] = field(default_factory=list)  # first lines of errors, short
    excerpt: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)  # which part of which log
    containers: int = 0
    lines: int = 0


class PodLogs(Kind):
    """Reads every pod of the newest ReplicaSet: ``kubectl logs deployment/x`` picks one, and prefers a healthy one."""

    name: ClassVar[str] = "pod_logs"
    summary: ClassVar[str] = "Looks for errors in the logs of all pods of the Deployment, and for pods that don't run"
    params: ClassVar[type[Params]] = PodLogsParams
    timeout: ClassVar[float] = 90.0

    def needs(self, params: PodLogsParams) -> tuple[Need, ...]:
        """Those of its requests."""
        return (Reads("log"), *READS_PODS, READ_LOGS)

    def run(self, params: PodLogsParams, ctx: CheckContext) -> Answer:
        """FAIL for an error line, a pod that does not run, an unavailable Deployment; INCONCLUSIVE without any line."""
        part = require(ctx.target.kubernetes, ctx.target, "kubernetes")
        kube = ctx.clients.kube()
        back = "from the start of each container" if params.from_start else f"{params.since_minutes} min back"
        evidence = Evidence(
            asked=f"pods and logs of deployment/{part.deployment} in {part.namespace}, {back}",
            expected="every pod runs, no line of level ERROR, CRITICAL or FATAL, no traceback",
            seen="",
        )
        deployment = settled_deployment(kube, part, ctx.wait)
        pods = newest_pods(kube, part, deployment)
        if not pods:
            return _failure(evidence, f"deployment {part.deployment} has no pods", "Is it scaled to zero, or paused?")
        findings = _Findings()
        for pod in pods:
            ctx.progress(f"reading {pod.metadata.name}")
            _read_pod(kube, pod, part.container, params, ctx, findings)
        return _judge(findings, len(pods), not_available(deployment), evidence)


def _read_pod(
    kube: KubeClients,
    pod: Any,
    product: str,
    params: PodLogsParams,
    ctx: CheckContext,
    findings: _Findings,
) -> None:
    """``product``: the container that the product runs in; beside it there may be others."""
    statuses = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
    if not statuses:
        findings.troubles.append(f"{pod.metadata.name} {pod.status.phase}: no container has started")
    for status in statuses:
        ctx.wait(0)  # a cancelled check stops between two logs
        findings.containers += 1
        where = f"{pod.metadata.name}/{status.name}"
        trouble = _trouble(status, timedelta(minutes=params.since_minutes))
        if trouble:
            findings.troubles.append(f"{where} {trouble}")
        if not status.state or not status.state.waiting:  # a waiting container has no log of its own
            lines = _read_log(kube, pod, status.name, params, findings, previous=False)
            missing_texts = [text for text in params.start_lines if not any(text in line for line in lines)]
            if missing_texts and status.name == product:
                findings.troubles.append(f"{where} did not print {', '.join(missing_texts)} at its start")
        if status.restart_count and status.last_state and status.last_state.terminated:
            _read_log(kube, pod, status.name, params, findings, previous=True)


def _trouble(status: Any, window: timedelta) -> str:
    """What is wrong with a container as the cluster sees it: waiting for a bad reason, or crashed within the window."""
    restarts = f", {status.restart_count} restarts" if status.restart_count else ""
    waiting_state = status.state.waiting if status.state else None
    if waiting_state and waiting_state.reason not in STARTING:
        return f"{waiting_state.reason or 'Waiting'}{restarts}"
    last_end = status.last_state.terminated if status.last_state else None
    if last_end and last_end.exit_code and last_end.finished_at and datetime.now(UTC) - last_end.finished_at < window:
        return f"ended with {last_end.exit_code} ({last_end.reason or 'Error'}){restarts}"
    return ""


def _read_log(
    kube: KubeClients,
    pod: Any,
    container: str,
    params: PodLogsParams,
    findings: _Findings,
    *,
    previous: bool,
) -> list[str]:
    name, namespace = pod.metadata.name, pod.metadata.namespace
    where = f"{name}/{container}{' (previous)' if previous else ''}"

    def fetch(**limits: int) -> bytes:
        return read_log(
            kube, name, namespace, where=where, container=container, previous=previous, limit_bytes=LOG_LIMIT, **limits
        )

    def whole(data: bytes) -> list[str]:
        if len(data) >= LOG_LIMIT:
            raise CheckError(
                f"the log of {where} is longer than {LOG_LIMIT // 1024**2} MiB, so its end was not read",
                hint="Choose a shorter since_minutes.",
            )
        return _lines(data)

    recent = {"since_seconds": params.since_minutes * 60}
    if params.from_start and not previous:
        data = fetch()
        lines, part = _lines(data), "from its start on"
        if len(data) >= LOG_LIMIT:  # the API server sends the beginning, but what is new stands at the end
            lines = _lines(data[: end_of_words(data)]) + whole(fetch(**recent))
            part = f"{LOG_LIMIT // 1024**2} MiB from its start on, and {params.since_minutes} min back"
    else:
        lines, part = whole(fetch(**recent)), f"{params.since_minutes} min back"
        if not lines:
            lines = whole(fetch(tail_lines=QUIET_TAIL))
            part = f"nothing within {params.since_minutes} min, so its last lines"
    findings.read.append(f"{where}: {part}, {len(lines)} lines")
    findings.lines += len(lines)
    _find_errors(where, lines, [re.compile(pattern) for pattern in params.allow], findings)
    return lines


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()


def _find_errors(where: str, lines: list[str], allow: list[re.Pattern[str]], findings: _Findings) -> None:
    before: deque[str] = deque(maxlen=2)  # what led to it
    follow = 0
    for line in lines:
        message = error_in(line)
        if message and not any(pattern.search(line) for pattern in allow):
            if not follow:  # the traceback below "ERROR: Exception in ASGI application" is the same error
                findings.errors.append(f"{where}: {message}")
                findings.excerpt += [f"--- {where}", *before]
            findings.excerpt.append(line)
            follow = TRACEBACK_LINES if _opens_traceback(line) else follow
        elif follow:
            findings.excerpt.append(line)
        follow = max(0, follow - 1)
        before.append(line)


def _opens_traceback(line: str) -> bool:
    return not line.startswith("{")


def _judge(findings: _Findings, pods: int, not_available: str, evidence: Evidence) -> Answer:
    troubles = [*findings.troubles, *([f"deployment {not_available}"] if not_available else [])]
    totals = f"{pods} pods, {findings.containers} containers, {findings.lines} lines"
    evidence = Evidence(
        asked=evidence.asked,
        expected=evidence.expected,
        seen="\n".join([totals, *troubles, *findings.errors, *findings.read]),
        attachment="\n".join([*troubles, *findings.excerpt]),
        attachment_name="logs.txt",
    )
    number = len(findings.errors)
    if number:
        troubles.append(f"{number} {'error' if number == 1 else 'errors'} in the logs: {findings.errors[0]}")
    if troubles:
        hint = (
            "The excerpt is attached; `kubectl describe pod` shows more. Known lines can be allowed in the checklist."
        )
        return _failure(evidence, "; ".join(troubles), hint)
    if findings.lines == 0:
        return Answer(
            Outcome.INCONCLUSIVE, f"{totals}: no lines to check", evidence, hint="Send the product a request."
        )
    return Answer(Outcome.PASS, f"{totals}, no errors", evidence)


def _failure(evidence: Evidence, summary: str, hint: str) -> Answer:
    return Answer(Outcome.FAIL, summary, evidence, hint=hint)
