"""The log files of containers: one for each start, every line behind its time stamp."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path


class ContainerLog:
    """The log of one start of one container."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: str) -> None:
        """Append a line with the time of now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", errors="replace") as out:
            out.write(f"{datetime.now(UTC).isoformat()} {line}\n")

    def read(self, *, since_seconds: int | None, tail_lines: int | None, limit_bytes: int | None) -> bytes:
        """The lines of the last `since_seconds`, of these the last `tail_lines`, of these the first `limit_bytes`."""
        if not self._path.exists():
            return b""
        text = self._path.read_text(encoding="utf-8", errors="replace")
        lines = [line.partition(" ") for line in text.split("\n")[:-1]]
        if since_seconds is not None:
            start = datetime.now(UTC) - timedelta(seconds=since_seconds)
            lines = [line for line in lines if datetime.fromisoformat(line[0]) >= start]
        if tail_lines is not None:
            lines = lines[max(0, len(lines) - tail_lines) :]
        return "".join(f"{line}\n" for _, _, line in lines).encode()[:limit_bytes]


class PodLogFolder:
    """The folder with the logs of all pods."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def container(self, pod_uid: str, container: str, start: int) -> ContainerLog:
        """The log of the start number `start` (0 is the first) of a container."""
        return ContainerLog(self._folder / pod_uid / f"{container}.{start}.log")

    def forget(self, pod_uid: str) -> None:
        """Delete the logs of a pod that is gone."""
        shutil.rmtree(self._folder / pod_uid, ignore_errors=True)
