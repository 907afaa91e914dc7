"""How a pod plays: the settings in its `testbed/...` annotations and in the ConfigMap `testbed-images`.

They are those of the testbed with the real API server that the simulator is compared with, as many as are used: ready-after,
never-ready, crash, image-pull-error, log and exec. An entry of the ConfigMap maps an image (shell patterns work) to settings and
wins over annotations; it is read at each container start, so a fault needs no change of the Deployment.
"""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

Json = dict[str, Any]

PREFIX = "testbed/"
IMAGES = "testbed-images"  # name of the ConfigMap
SETTINGS = {"ready-after", "never-ready", "crash", "image-pull-error", "log", "exec"}
_UNITS = {"ms": 0.001, "s": 1.0}


class BehaviourError(Exception):
    """A setting that is unknown or cannot be read."""


class Behaviour:
    """The settings of one start of one container."""

    def __init__(self, annotations: Json, images: dict[str, str], image: str) -> None:
        """`annotations` of the pod, `images`: the data of the ConfigMap. BehaviourError for a setting that does not exist."""
        self._values: Json = {k.removeprefix(PREFIX): v for k, v in annotations.items() if k.startswith(PREFIX)}
        for text in images.values():
            try:
                entries = json.loads(text)
            except json.JSONDecodeError as error:
                raise BehaviourError(f"{IMAGES} is not JSON: {error}") from error
            for pattern, settings in entries.items():
                if fnmatch.fnmatchcase(image, pattern):
                    self._values |= settings
        if unknown := self._values.keys() - SETTINGS:
            raise BehaviourError(f"unknown settings: {', '.join(sorted(unknown))}")

    def is_on(self, name: str) -> bool:
        """Whether a yes-or-no setting says yes."""
        return str(self._values.get(name, "false")).lower() not in ("false", "0", "")

    def seconds(self, name: str, default: float) -> float:
        """A duration like 500ms or 2s, in seconds."""
        if name not in self._values:
            return default
        match = re.fullmatch(r"(\d+\.?\d*)(ms|s)", str(self._values[name]))
        if match is None:
            raise BehaviourError(f"{name}: no duration like 500ms or 2s: {self._values[name]}")
        return float(match[1]) * _UNITS[match[2]]

    def lines(self, default: str) -> list[str]:
        """What the container prints, line by line."""
        value = self._values.get("log", default)
        return [str(item) for item in value] if isinstance(value, list) else str(value).splitlines()
