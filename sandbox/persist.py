"""Small JSON files that bring a part of the sandbox back after a restart; no database, no history."""

import asyncio
import json
from pathlib import Path
from typing import Any

SAVE_INTERVAL_SECONDS = 0.2


class Snapshot:
    """One JSON document in one file, replaced as a whole and never seen half written.

    Saves are put together: at most one write per `interval_seconds`, so a part may call `save` after every change.
    Use it from one thread only, that of the event loop; without a running loop every save is written at once.
    """

    def __init__(self, path: Path, *, interval_seconds: float = SAVE_INTERVAL_SECONDS) -> None:
        self._path = path
        self._interval = interval_seconds
        self._pending: Any = None
        self._dirty = False
        self._timer: asyncio.TimerHandle | None = None

    def load(self) -> Any:
        """The document saved last, or None when there is no file yet.

        Raises ValueError when the file is not JSON: the sandbox then does not start on a state it cannot trust.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return json.loads(text)
        except json.JSONDecodeError as exc:
            raise ValueError(f"{self._path} is not valid JSON ({exc}); delete it to start afresh") from exc

    def save(self, document: Any) -> None:
        """Write `document` soon: anything json can write, or a function that returns it, called when it is written."""
        self._pending = document
        self._dirty = True
        if self._timer is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._timer = loop.call_later(self._interval, self.flush)

    def flush(self) -> None:
        """Write the latest document now if it is not on the disk yet. Call it when the part stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._dirty:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(self._path.name + ".tmp")
        document = self._pending() if callable(self._pending) else self._pending
        temporary.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        temporary.replace(self._path)
        self._dirty = False
