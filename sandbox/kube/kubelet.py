"""The one node of the simulated cluster: plays every pod and finds their logs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from sandbox.kube.errors import bad_request
from sandbox.kube.podlogs import ContainerLog, PodLogFolder
from sandbox.kube.podplayer import PodPlayer
from sandbox.kube.resources import PODS
from sandbox.kube.store import ObjectChange, ObjectStore

Json = dict[str, Any]


class Kubelet:
    """Starts, stops and forgets pods as they come and go in the store."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store = store
        self._homes = folder / "homes"
        self.logs = PodLogFolder(folder / "logs")
        self._players: dict[str, PodPlayer] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._addresses = 0
        self._unsubscribe = store.subscribe(self._observe)

    def start(self) -> None:
        """Take up the pods that are in the store already."""
        for pod in self._store.objects(PODS):
            self._accept(pod)

    async def stop(self) -> None:
        """Leave all pods as they are; commands that run are killed."""
        self._unsubscribe()
        await asyncio.gather(*(player.abandon() for player in self._players.values()), *self._farewells)

    def find_log(self, pod: Json, container: str, *, previous: bool) -> ContainerLog:
        """The log of a container, or of its instance before the last restart; StatusError 400 where there is none."""
        name = pod["metadata"]["name"]
        names = [c["name"] for c in pod["spec"]["containers"]]
        if not container and len(names) > 1:
            raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
        container = container or names[0]
        if container not in names:
            raise bad_request(f"container {container} is not valid for pod {name}")
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        status = next((s for s in statuses if s["name"] == container), None)
        where = f'container "{container}" in pod "{name}"'
        if status is None:
            raise bad_request(f"{where} is waiting to start: ContainerCreating")
        start: int = status["restartCount"]
        if waiting_state := status["state"].get("waiting"):
            if not status["lastState"]:
                why = waiting_state["reason"]
                why = "trying and failing to pull image" if "ImagePull" in why else why
                raise bad_request(f"{where} is waiting to start: {why}")
        elif previous:
            start -= 1
        if start < 0:
            raise bad_request(f"previous terminated {where} not found")
        return self.logs.container(pod["metadata"]["uid"], container, start)

    def _observe(self, change: ObjectChange) -> None:
        if change.resource is not PODS:
            return
        if change.is_removal:
            self._forget(change.obj["metadata"]["uid"])
        else:
            self._accept(change.obj)

    def _accept(self, pod: Json) -> None:
        uid, meta = pod["metadata"]["uid"], pod["metadata"]
        if uid not in self._players:
            self._addresses += 1
            ip = f"10.244.{self._addresses // 250 % 250}.{self._addresses % 250 + 2}"
            self._players[uid] = PodPlayer(self._store, self.logs, pod, self._homes, ip)
        if "deletionTimestamp" in meta:
            self._players[uid].stop(meta.get("deletionGracePeriodSeconds") or 0)

    def _forget(self, uid: str) -> None:
        player = self._players.pop(uid, None)
        if player is None:
            return
        farewell = asyncio.create_task(self._bury(uid, player))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    async def _bury(self, uid: str, player: PodPlayer) -> None:
        await player.abandon()
        self.logs.forget(uid)
        shutil.rmtree(self._homes / uid, ignore_errors=True)
