"""Plays one pod: starts its containers, reports their states, restarts or ends them.

A container without `testbed/exec` prints its lines and waits; with it, its command really runs as a local process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any

from sandbox.kube.behaviour import IMAGES, Behaviour, BehaviourError
from sandbox.kube.environment import SimulatorConfigError, container_environment, expand
from sandbox.kube.podlogs import ContainerLog, PodLogFolder
from sandbox.kube.resources import CONFIGMAPS, PODS
from sandbox.kube.store import ObjectStore, now

Json = dict[str, Any]

NODE = "sandbox-node"
READY_SECONDS = 0.3
CRASH_SECONDS = 0.2
RUN_SECONDS = 0.3  # of a container that ends by itself
STOP_SECONDS = 0.1
BACKOFF_SECONDS = 0.5  # doubles to BACKOFF_LIMIT_SECONDS (10 s to 5 min on a real node)
BACKOFF_LIMIT_SECONDS = 8.0
PULL_RETRY_SECONDS = 0.5
TERMINATED_SHOWN_SECONDS = 0.2  # how long a state `terminated` shows before CrashLoopBackOff
KILLED_EXIT_CODE = 137
LINE_LIMIT_BYTES = 1 << 22  # of one line of output
LAST_WORDS_SECONDS = 2.0  # for what is still in the pipe when a command has ended

logger = logging.getLogger(__name__)


class PodPlayer:
    """One pod from its first start to its deletion; a pod that ran when the simulator stopped is taken up as it was."""

    def __init__(self, store: ObjectStore, logs: PodLogFolder, pod: Json, home: Path, ip: str) -> None:
        self._store, self._logs, self._pod, self._home, self._ip = store, logs, pod, home, ip
        self._spec: Json = pod["spec"]
        old_statuses = {status["name"]: status for status in (pod.get("status") or {}).get("containerStatuses") or []}
        self._statuses = {c["name"]: old_statuses.get(c["name"]) or _fresh_status(c) for c in self._spec["containers"]}
        self._over: dict[str, int] = {}  # exit codes of the containers that will not start again
        self._groups: set[int] = set()  # process groups of running commands
        self._stopping = asyncio.Event()
        self._grace = 0.0
        self._task = asyncio.create_task(self._run())

    def stop(self, grace_seconds: float) -> None:
        """The pod is being deleted: stop its containers within the grace period, then take it away."""
        self._grace = grace_seconds
        self._stopping.set()

    async def abandon(self) -> None:
        """Leave the pod as it is (the simulator stops, or the pod was removed); its processes are killed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        play = asyncio.create_task(self._play())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({play, stop}, return_when=asyncio.FIRST_COMPLETED)
            if play.done() and (error := play.exception()):
                if not isinstance(error, BehaviourError):
                    raise error
                logger.error("pod %s stays as it is: %s", self._name, error)
            await stop  # a finished pod stays until somebody deletes it
            await self._stop_containers()
        finally:
            play.cancel()
            stop.cancel()
            self._kill(signal.SIGKILL)
            await asyncio.gather(play, stop, return_exceptions=True)
        meta = self._pod["metadata"]
        self._store.remove(PODS, meta["namespace"], meta["name"])

    async def _play(self) -> None:
        if not self._spec.get("nodeName"):
            self._bind()
        self._publish()
        await asyncio.gather(*(self._play_container(c) for c in self._spec["containers"]))
        self._publish()

    async def _play_container(self, container: Json) -> None:
        """Play a container with its restarts until it is over for good."""
        status, delay = self._statuses[container["name"]], BACKOFF_SECONDS
        policy = self._spec["restartPolicy"]
        while True:
            code = await self._play_once(container, status)
            termination = status["state"]["terminated"]
            if policy == "Never" or (code == 0 and policy == "OnFailure"):
                self._over[container["name"]] = code
                self._publish()
                return
            self._publish()
            await asyncio.sleep(TERMINATED_SHOWN_SECONDS)
            text = f"back-off {delay}s restarting failed container={container['name']} pod={self._name}"
            state = {"reason": "CrashLoopBackOff", "message": text}
            status |= {"state": {"waiting": state}, "lastState": {"terminated": termination}}
            self._publish()
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF_LIMIT_SECONDS)
            status["restartCount"] += 1

    async def _play_once(self, container: Json, status: Json) -> int:
        """One start of a container, to its exit code; the state ends as `terminated`."""
        termination: Json | None = status["state"].get("terminated")
        if termination is not None:  # it had ended when the simulator stopped
            return int(termination["exitCode"])
        is_resumed = "running" in status["state"]
        behaviour, env = await self._prepare(container, status, is_resumed=is_resumed)
        log = self._logs.container(self._uid, container["name"], status["restartCount"])
        if not is_resumed:
            self._start(container, status)
        started_at = status["state"]["running"]["startedAt"]
        readiness = asyncio.create_task(self._become_ready(status, behaviour, is_resumed=is_resumed))
        why = ""
        try:
            if not behaviour.is_on("exec"):
                code = await self._simulate(container, behaviour, log, is_resumed=is_resumed)
            elif is_resumed:
                code = KILLED_EXIT_CODE  # its process ended with the simulator
            else:
                code, why = await self._execute(container, env, log)
        finally:
            readiness.cancel()
        termination = {"exitCode": code, "reason": "Error" if code else "Completed"}
        termination |= {"startedAt": started_at, "finishedAt": now()}
        if why:
            termination |= {"reason": "ContainerCannotRun", "message": why}
        status |= {"state": {"terminated": termination}, "ready": False, "started": False}
        return code

    def _start(self, container: Json, status: Json) -> None:
        digest = hashlib.sha256(container["image"].encode()).hexdigest()
        repository = container["image"].split("@")[0]
        if ":" in repository.rpartition("/")[2]:
            repository = repository.rpartition(":")[0]
        status["imageID"] = container["image"] if "@" in container["image"] else f"{repository}@sha256:{digest}"
        status["containerID"] = f"sandbox://{secrets.token_hex(32)}"
        status |= {"state": {"running": {"startedAt": now()}}, "started": True}
        self._publish()

    async def _prepare(self, container: Json, status: Json, *, is_resumed: bool) -> tuple[Behaviour, dict[str, str]]:
        """Wait for what a container needs before it can start: its image and its environment."""
        image, pulls = container["image"], 0
        while True:
            try:
                behaviour = self._behaviour(image)
                if is_resumed or not behaviour.is_on("image-pull-error"):
                    return behaviour, container_environment(self._store, self._pod["metadata"]["namespace"], container)
                reason, text = "ImagePullBackOff", f'Back-off pulling image "{image}"'
                if pulls == 0:
                    reason, text = "ErrImagePull", f'failed to pull "{image}": manifest unknown'
            except SimulatorConfigError as error:
                reason, text = "CreateContainerConfigError", str(error)
            state = {"waiting": {"reason": reason, "message": text}}
            if status["state"] != state:
                status["state"] = state
                self._publish()
            pulls += 1
            await asyncio.sleep(PULL_RETRY_SECONDS)

    async def _become_ready(self, status: Json, behaviour: Behaviour, *, is_resumed: bool) -> None:
        if behaviour.is_on("never-ready") and not status["ready"]:
            return
        if not (is_resumed and status["ready"]):
            await asyncio.sleep(behaviour.seconds("ready-after", READY_SECONDS))
        status["ready"] = True
        self._publish()

    async def _simulate(self, container: Json, behaviour: Behaviour, log: ContainerLog, *, is_resumed: bool) -> int:
        if not is_resumed:
            for line in behaviour.lines(f"testbed: started {container['image']}"):
                log.write(line)
        if behaviour.is_on("crash"):
            await asyncio.sleep(CRASH_SECONDS)
            return 1
        await asyncio.sleep(RUN_SECONDS if self._spec["restartPolicy"] != "Always" else math.inf)
        return 0

    async def _execute(self, container: Json, env: dict[str, str], log: ContainerLog) -> tuple[int, str]:
        """Run the command of a container as a process: (exit code, why it could not start)."""
        command = [*(container.get("command") or []), *(container.get("args") or [])]
        if not command:
            return 128, "testbed/exec needs a command: there are no images here"
        home = self._home / self._uid
        home.mkdir(parents=True, exist_ok=True)
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "HOSTNAME": self._name, **env}
        try:
            process = await asyncio.create_subprocess_exec(
                *(expand(word, env) for word in command),
                env=env,
                cwd=container.get("workingDir") or home,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                limit=LINE_LIMIT_BYTES,
            )
        except OSError as error:
            return 127, str(error)
        self._groups.add(process.pid)
        try:
            copying = asyncio.create_task(_copy_lines(process, log))
            code = await process.wait()
            self._kill(signal.SIGKILL, process.pid)  # a container ends with its first process
            await asyncio.wait({copying}, timeout=LAST_WORDS_SECONDS)
        finally:
            self._kill(signal.SIGKILL, process.pid)
            await process.wait()
            self._groups.discard(process.pid)
        return (128 - code if code < 0 else code), ""

    async def _stop_containers(self) -> None:
        end = time.monotonic() + self._grace
        self._kill(signal.SIGTERM)
        await asyncio.sleep(min(self._grace, STOP_SECONDS))
        while time.monotonic() < end:
            if not self._groups:
                return
            await asyncio.sleep(0.05)

    def _kill(self, number: signal.Signals, only: int = 0) -> None:
        for group in {only} if only else set(self._groups):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)

    # --- what others see

    @property
    def _name(self) -> str:
        return str(self._pod["metadata"]["name"])

    @property
    def _uid(self) -> str:
        return str(self._pod["metadata"]["uid"])

    def _annotations(self) -> Json:
        current = self._current()
        return (current or self._pod)["metadata"].get("annotations") or {}

    def _current(self) -> Json | None:
        meta = self._pod["metadata"]
        pod = self._store.find(PODS, meta["namespace"], meta["name"])
        return pod if pod and pod["metadata"]["uid"] == meta["uid"] else None

    def _behaviour(self, image: str) -> Behaviour:
        images = self._store.find(CONFIGMAPS, self._pod["metadata"]["namespace"], IMAGES)
        return Behaviour(self._annotations(), (images or {}).get("data") or {}, image)

    def _bind(self) -> None:
        if pod := self._current():
            pod["spec"]["nodeName"] = NODE
            self._store.update(PODS, pod)

    def _publish(self) -> None:
        if pod := self._current():
            self._store.update(PODS, pod | {"status": self._status(pod.get("status") or {})}, status=True)

    def _status(self, old: Json) -> Json:
        statuses = [self._statuses[c["name"]] for c in self._spec["containers"]]
        codes = [self._over[s["name"]] for s in statuses if s["name"] in self._over]
        if len(codes) == len(statuses):
            phase = "Failed" if any(codes) else "Succeeded"
        elif any("waiting" in s["state"] and not s["lastState"] for s in statuses):
            phase = "Pending"
        else:
            phase = "Running"
        unready = " ".join(s["name"] for s in statuses if not s["ready"])
        why = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{unready}]"}
        why = {"reason": "PodCompleted"} if phase == "Succeeded" else why
        states = {"Initialized": True, "Ready": not unready, "ContainersReady": not unready, "PodScheduled": True}
        before = {c["type"]: c for c in old.get("conditions") or []}
        conditions = []
        for kind, is_met in states.items():
            condition = {"type": kind, "status": "True" if is_met else "False", "lastTransitionTime": now()}
            if kind in before and before[kind]["status"] == condition["status"]:
                condition["lastTransitionTime"] = before[kind]["lastTransitionTime"]
            conditions.append(condition if is_met else condition | why)
        status = {"phase": phase, "conditions": conditions, "startTime": old.get("startTime") or now()}
        ip = old.get("podIP") or self._ip
        status |= {"hostIP": "127.0.0.1", "podIP": ip, "podIPs": [{"ip": ip}], "qosClass": "BestEffort"}
        return status | {"containerStatuses": statuses}


async def _copy_lines(process: asyncio.subprocess.Process, log: ContainerLog) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        log.write(line.decode(errors="replace").rstrip("\n"))


def _fresh_status(container: Json) -> Json:
    status: Json = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False}
    return status | {"restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {}}
