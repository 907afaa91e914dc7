"""The control loop: after each change, and when a deadline is due, every controller looks at everything again."""

from __future__ import annotations

import asyncio

from sandbox.kube.deployments import DeploymentController
from sandbox.kube.garbage import GarbageCollector
from sandbox.kube.jobs import CronJobController, JobController
from sandbox.kube.replicasets import ReplicaSetController
from sandbox.kube.store import ObjectStore

REACTION_SECONDS = 0.03  # so that observedGeneration lags behind generation, as on a real cluster


class Controllers:
    """All controllers of the simulated cluster, in one task."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._has_changed = asyncio.Event()
        self._controllers = (
            DeploymentController(store),
            ReplicaSetController(store),
            JobController(store),
            CronJobController(store),
        )
        self._garbage_collector = GarbageCollector(store)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._unsubscribe = self._store.subscribe(lambda _: self._has_changed.set())
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop between two looks."""
        if self._task is None:
            return
        self._unsubscribe()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        while True:
            self._has_changed.clear()
            pauses = [controller.sync_all() for controller in self._controllers]
            self._garbage_collector.sync_all()
            pause = min((seconds for seconds in pauses if seconds is not None), default=None)
            try:
                await asyncio.wait_for(self._has_changed.wait(), pause)
            except TimeoutError:
                continue
            await asyncio.sleep(REACTION_SECONDS)
