"""One look of a controller at all its objects, where the failure of one does not keep it from the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sandbox.kube.errors import StatusError

Json = dict[str, Any]

RETRY_SECONDS = 0.5

logger = logging.getLogger(__name__)


def sync_each(objects: list[Json], sync: Callable[[Json], float | None]) -> float | None:
    """Call `sync` with each object; the shortest of the pauses in seconds that it asks for, if any.

    A refusal (an object that went in between, a namespace that is being deleted) is logged, and tried again soon.
    """
    pauses: list[float] = []
    for obj in objects:
        try:
            pause = sync(obj)
        except StatusError as error:
            logger.info("%s %s: %s", obj["kind"], obj["metadata"]["name"], error)
            pause = RETRY_SECONDS
        if pause is not None:
            pauses.append(pause)
    return min(pauses, default=None)
