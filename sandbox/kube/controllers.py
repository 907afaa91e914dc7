"""The control loop: after each change, and when a deadline is due, every controller looks at everything again."""

from __future__ import annotations

import asyncio
import logging

from sandbox.kube.deployments import DeploymentController, ReplicaSetController
from sandbox.kube.garbage import GarbageCollector
from sandbox.kube.jobs import CronJobController, JobController
from sandbox.kube.resources import EVENTS
from sandbox.kube.store import Change, Store

REACTION_SECONDS = 0.03  # so that observedGeneration lags behind generation, as on a real cluster

logger = logging.getLogger(__name__)


class Controllers:
    """All controllers of the simulated cluster, in one task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = asyncio.Event()
        self._controllers = (
            DeploymentController(store),
            ReplicaSetController(store),
            JobController(store),
            CronJobController(store),
            GarbageCollector(store),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._unsubscribe = self._store.subscribe(self._observe)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop between two looks."""
        if self._task is None:
            return
        self._unsubscribe()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def _observe(self, change: Change) -> None:
        if change.resource is not EVENTS:
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            waits = [controller.sync_all() for controller in self._controllers]
            pause = min((wait for wait in waits if wait is not None), default=None)
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue
            await asyncio.sleep(REACTION_SECONDS)
