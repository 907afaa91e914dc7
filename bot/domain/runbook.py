"""Where the runbook and a line's section of it are: the address of the document and the anchor that GitHub gives a heading."""

from __future__ import annotations

import re
from urllib.parse import quote

_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
_OF_THE_WEB = re.compile(r"https?://\S+")


def document(runbook: str, files: str) -> str:
    """The address of a runbook that is a path in the repository whose ``files`` are seen at that address.

    One that is an address itself stays; so does a path where it is not known where the files are seen.
    """
    path = runbook.lstrip("/")
    return runbook if not path or not files or _OF_THE_WEB.fullmatch(runbook) else f"{files}{quote(path)}"


def places(runbook: str, sections: str) -> list[tuple[str, str]]:
    """(heading, address) of each section; ``sections`` holds headings, separated by semicolons.

    The address is empty where the runbook is none of the web. A heading that is an address itself stands for itself.
    """
    headings = [heading for part in sections.split(";") if (heading := part.strip())]
    return [(heading, _address(runbook, heading)) for heading in headings]


def _address(runbook: str, heading: str) -> str:
    if _OF_THE_WEB.fullmatch(heading):
        return heading
    if not _OF_THE_WEB.fullmatch(runbook):
        return ""
    anchor = _NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-")  # as on GitHub
    return f"{runbook.partition('#')[0]}#{anchor}"
