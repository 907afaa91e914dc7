"""The log files of containers: one for each start, every line behind its time stamp."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple


class LogOptions(NamedTuple):
    """What part of a log is asked for: the query parameters of `pods/log`."""

    since_seconds: int | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    timestamps: bool = False


class ContainerLog:
    """The log of one start of one container."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, line: str) -> None:
        """Append a line with the time of now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        with self.path.open("a", encoding="utf-8", errors="replace") as out:
            out.write(f"{stamp} {line}\n")

    def lines(self) -> list[tuple[str, str]]:
        """All lines as (time stamp, text)."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        pairs = [line.partition(" ") for line in text.split("\n")[:-1]]
        return [(stamp, line) for stamp, _, line in pairs]

    def read(self, options: LogOptions) -> bytes:
        """The part that the options ask for, as the API server sends it."""
        lines = self.lines()
        if options.since_seconds is not None:
            start = datetime.now(UTC) - timedelta(seconds=options.since_seconds)
            lines = [line for line in lines if datetime.fromisoformat(line[0]) >= start]
        if options.tail_lines is not None:
            lines = lines[max(0, len(lines) - options.tail_lines) :]
        return render(lines, timestamps=options.timestamps)[: options.limit_bytes]


def render(lines: list[tuple[str, str]], *, timestamps: bool) -> bytes:
    """Lines as text, with or without their time stamps."""
    return "".join(f"{stamp} {text}\n" if timestamps else f"{text}\n" for stamp, text in lines).encode()


class PodLogs:
    """The folder with the logs of all pods."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def container(self, pod_uid: str, container: str, start: int) -> ContainerLog:
        """The log of the start number `start` (0 is the first) of a container."""
        return ContainerLog(self._folder / pod_uid / f"{container}.{start}.log")

    def forget(self, pod_uid: str) -> None:
        """Delete the logs of a pod that is gone."""
        shutil.rmtree(self._folder / pod_uid, ignore_errors=True)
