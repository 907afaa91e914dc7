"""The pack: the files of the evidence of one release in one ZIP, with the sha256 of each."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from bot.evidence import markdown, page

SHIPPED_FILES = ("FORMAT.md", "verify.py")  # copied into every pack


def build(facts: Mapping[str, Any], record: Sequence[Mapping[str, Any]], digests: Mapping[str, Any]) -> bytes:
    """Return the ZIP file. The same facts, record and digests give the same bytes."""
    is_format_2 = facts["format"] == 2  # noqa: PLR2004  its script takes what the rows must say from the events
    folder = resources.files("bot.evidence.format_2" if is_format_2 else "bot.evidence")
    files = {
        "report.html": page.render(facts, record).encode(),
        "report.md": markdown.render(facts, record).encode(),
        "release.json": _json(facts),
        "record.json": _json(record),
        **({} if is_format_2 else {"digests.json": _json(digests)}),
        **{name: folder.joinpath(name).read_bytes() for name in SHIPPED_FILES},
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = {"format": facts["format"], "version": facts["release"]["version"], "files": sums}
    head = {"head": record[-1]["hash"], "row": record[-1]["seq"]} if record else {"head": "", "row": 0}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, "manifest.json": _json({**manifest, **head})}.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
