"""Starts the product by itself against another database, in a pod of its own, and takes it away again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.contract import CheckError
from checks.kinds.restore_drill.boot_pod import (
    LABEL,
    LAST_WORDS,
    NAME,
    PASSWORD_KEY,
    PROBE,
    START,
    Boot,
    describe,
    place,
    settings_of,
)
from clients.answers import reading
from clients.cluster import kube_errors
from clients.errors import ClientError
from clients.needs import READ_DEPLOYMENT, ClusterRight, Of
from clients.pods import read_log
from clients.workload import read_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checks.contract import Change, CheckContext

Json = dict[str, Any]

FIRST_PAUSE, PAUSE = 0.25, 0.5  # seconds before the first look at the pod, and between two
SETTLE = 15.0  # seconds for which a node may not know a Secret yet that is there
TAIL = 200  # log lines of the product
NO_LOG_YET, NOT_FOUND, CONFLICT = 400, 404, 409
NOT_CONFIGURED = "CreateContainerConfigError"  # a Secret, a ConfigMap or a key in it is not there
NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})  # the command could not be started

BOOT_RIGHTS = (
    READ_DEPLOYMENT,
    ClusterRight("create", "", "pods", Of.NAMESPACE),
    ClusterRight("get", "", "pods", Of.NAMESPACE, NAME),
    ClusterRight("delete", "", "pods", Of.NAMESPACE, NAME),
    ClusterRight("get", "", "pods/log", Of.NAMESPACE, NAME),
)


@dataclass(frozen=True)
class Booted:
    """How it went. ``trouble``: why it is not ready; ``answer``: its last word; ``log``: its own, where there is trouble."""

    trouble: str
    answer: str
    log: str = ""


def undo_payload(drill: str, ctx: CheckContext) -> dict[str, Any]:
    """What `remove` has to know while the product runs against the database ``drill``."""
    return {"database": drill, "namespace": place(ctx).namespace}


def boot(how: Boot, change: Change, is_connected: Callable[[], bool], ctx: CheckContext) -> Booted:
    """Start the product's container against a database of the restore server, and wait for its word.

    ``change``: with the `undo_payload`, which was written down; the id of the pod is added, so that ``remove`` need not ask
    whose it is, and whether the cluster may still be at making it.
    ``is_connected``: is the product connected to that database at this moment? Raises CheckError when the cluster refuses,
    when the pod does not get as far as to start, and when the product was ready without ever having been connected.
    """
    kube, namespace = ctx.clients.kube(), place(ctx).namespace
    workload = read_workload(ctx, "deployment")
    pod = describe(how, change.payload["database"], workload, ctx)
    change.outcome_unknown = True
    try:
        with kube_errors(f"create pod {NAME} in {namespace}"):
            pod_object = kube.json(kube.core.create_namespaced_pod, namespace, pod)
        with reading("Kubernetes", f"pod {NAME} in {namespace}"):
            change.payload["uid"] = str(pod_object["metadata"]["uid"])
        change.outcome_unknown = False
    except ClientError as error:
        change.outcome_unknown = error.outcome_unknown
        if error.status != CONFLICT:
            raise
        raise CheckError(
            f"pod {NAME} already exists in {namespace}: another restore drill is running there",
            hint="Wait for it. If no drill is running, delete that pod and run the check again.",
        ) from error
    return _watch(how, is_connected, ctx)


def remove(payload: Mapping[str, Any], ctx: CheckContext) -> None:
    """Take away the pod that ``payload`` is about, at once. That of another drill is left alone; none is as good."""
    for _ in ctx.undo_attempts():
        if _remove_own_pod(payload, ctx):
            return


def _remove_own_pod(payload: Mapping[str, Any], ctx: CheckContext) -> bool:
    """Whether it was there, and ours."""
    kube, namespace = ctx.clients.kube(), payload["namespace"]
    try:
        with kube_errors(f"remove pod {NAME} in {namespace}"):
            uid = payload.get("uid")
            if uid is None:  # its maker was killed, or has not got an answer
                pod = kube.json(kube.core.read_namespaced_pod, NAME, namespace)
                with reading("Kubernetes", f"pod {NAME} in {namespace}"):
                    ours = (pod["metadata"].get("labels") or {}).get(LABEL) == payload["database"]
                    uid = str(pod["metadata"]["uid"])
                if not ours:
                    return False
            # No grace: its database is about to go, and the name has to be free for the next drill.
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
            kube.json(kube.core.delete_namespaced_pod, NAME, namespace, body=body)
    except ClientError as error:
        if error.status not in {NOT_FOUND, CONFLICT}:  # gone, or another one's by now
            raise
        return False
    return True


@dataclass(frozen=True)
class _PodState:
    """The pod at one look."""

    status: Json
    states: Json  # of its containers, by their names
    ended: Json  # how those ended that did
    ran: frozenset[str]  # which have started

    @property
    def state_text(self) -> str:
        """Why it does not go on, in the words of Kubernetes."""
        for state in self.states.values():
            if "waiting" in state:
                return ": ".join(filter(None, (state["waiting"].get("reason"), state["waiting"].get("message"))))
        for condition in self.status.get("conditions") or ():
            if condition.get("status") != "True" and condition.get("message"):
                return f"{condition.get('reason')}: {condition['message']}"
        return str(self.status.get("message") or self.status.get("phase") or "its state is unknown")

    @property
    def unconfigured(self) -> bool:
        """Does a container wait for a Secret, a ConfigMap or a key?"""
        return any((state.get("waiting") or {}).get("reason") == NOT_CONFIGURED for state in self.states.values())


def _watch(how: Boot, is_connected: Callable[[], bool], ctx: CheckContext) -> Booted:
    """Look at the pod until its probe has said its word, or its product has ended."""
    creation, container = time.monotonic(), place(ctx).container
    probe_start: float | None = None  # since when the probe is at it
    was_connected = False
    ctx.wait(FIRST_PAUSE)
    while True:
        # The end of a container may be told late, or only once all have ended: what counts is the probe's own line.
        word = _word(_log(ctx, PROBE))
        was_connected = was_connected or is_connected()
        if word is None or not word[0]:
            state = _look(ctx)
            if container in state.ended:
                return _end_of_product(state.ended[container], _log(ctx, container))
            _insist_on_start(how, state, time.monotonic() - creation, word, ctx)
            if probe_start is None and PROBE in state.ran:
                probe_start = time.monotonic()
            if probe_start is not None and time.monotonic() - probe_start > how.seconds + LAST_WORDS:
                raise _not_started(f"no news of the product in pod {NAME}", state, ctx)
            if word is None and PROBE in state.ended:
                word = _last_word(how, state.ended[PROBE], ctx)
        if word is not None:
            return _judge(word, was_connected or is_connected(), how, ctx)
        ctx.wait(PAUSE)


def _look(ctx: CheckContext) -> _PodState:
    kube, namespace = ctx.clients.kube(), place(ctx).namespace
    with kube_errors(f"read pod {NAME} in {namespace}"):
        pod = kube.json(kube.core.read_namespaced_pod, NAME, namespace)
    with reading("Kubernetes", f"pod {NAME} in {namespace}"):
        status = pod.get("status") or {}
        states = {one["name"]: one["state"] for one in status.get("containerStatuses") or ()}
        ends = {name: state["terminated"] for name, state in states.items() if "terminated" in state}
        ran = {name for name, state in states.items() if "running" in state}
        ran |= {name for name, end in ends.items() if end.get("reason") not in NEVER_RAN}
        return _PodState(status, states, ends, frozenset(ran))


def _word(log: str) -> tuple[bool, str] | None:
    """The probe's word in its log: is the product ready, and what did it say; None as long as there is none."""
    try:
        word = json.loads(log.rpartition("\n")[2])
        return bool(word["ready"]), str(word["said"])
    except (ValueError, TypeError, KeyError):
        return None


def _end_of_product(end: Json, log: str) -> Booted:
    """What the end of the product's container says. Raises CheckError where it never ran."""
    with reading("Kubernetes", f"the end of a container of pod {NAME}"):
        code, reason, message = end["exitCode"], end.get("reason") or "", end.get("message") or ""
    if reason in NEVER_RAN:
        raise CheckError(f"the product's command couldn't be started in pod {NAME}: {message or reason}")
    return Booted(f"it ended with exit code {code}: {log.splitlines()[-1] if log else message or reason}", "", log)


def _judge(word: tuple[bool, str], was_connected: bool, how: Boot, ctx: CheckContext) -> Booted:
    ready, answer = word
    if not ready:
        return Booted(f"not ready within {how.seconds} s: {answer}", answer, _log(ctx, place(ctx).container))
    if not was_connected:
        raise CheckError(
            "the product says it is ready, but never connected to the restored database",
            hint=f"Is {how.database_variable} the variable that it reads? Set `database_variable` of `boot`.",
            seen=answer,
        )
    return Booted("", answer)


def _last_word(how: Boot, end: Json, ctx: CheckContext) -> tuple[bool, str]:
    """What the probe has said before it ended. Raises CheckError where that was nothing."""
    log = _log(ctx, PROBE)
    word = _word(log)
    if word is not None:
        return word
    with reading("Kubernetes", f"the end of the probe of pod {NAME}"):
        code, message = end["exitCode"], end.get("message") or ""
    raise CheckError(
        f"the bot couldn't ask the product whether it is ready: {how.python} ended with exit code {code}",
        hint="Does the image have that Python? Set `python` of `boot` in the checklist.",
        seen=message or log,
    )


def _insist_on_start(
    how: Boot, state: _PodState, since: float, word: tuple[bool, str] | None, ctx: CheckContext
) -> None:
    """Raise CheckError where the product does not get as far as to start. ``since``: seconds that the pod is there."""
    if state.unconfigured and since > min(SETTLE, how.seconds):
        raise CheckError(
            f"the product can't be started in pod {NAME}: {state.state_text}",
            hint=f"Make it in {place(ctx).namespace}. The password of the restore server is the key {PASSWORD_KEY} of the "
            f"Secret that targets.{ctx.target.name}.restore_pod.secret names, {settings_of(ctx).secret!r}.",
            seen=json.dumps(state.status),
        )
    over = word is not None or since > START
    if state.status.get("phase") == "Failed" or (over and place(ctx).container not in state.ran):
        raise _not_started(f"the product did not start in pod {NAME}", state, ctx)


def _not_started(what: str, state: _PodState, ctx: CheckContext) -> CheckError:
    return CheckError(
        f"{what}: {state.state_text}",
        hint=f"Can {ctx.target.name} run one more pod of this image? See `kubectl -n {place(ctx).namespace} get events`.",
        seen=json.dumps(state.status),
    )


def _log(ctx: CheckContext, container: str) -> str:
    """The last lines of a container; nothing of one that has not started yet."""
    try:
        return _read_log(ctx, container)
    except ClientError as error:
        if error.status != NO_LOG_YET:
            raise
        return ""


def _read_log(ctx: CheckContext, container: str) -> str:
    kube, namespace = ctx.clients.kube(), place(ctx).namespace
    where = f"{NAME} in {namespace}"
    data = read_log(kube, NAME, namespace, where=where, container=container, tail_lines=TAIL)
    return data.decode(errors="replace").strip()
