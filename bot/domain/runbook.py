"""Where a line's section of the runbook is: the address of the document and the anchor that GitHub gives a heading."""

from __future__ import annotations

import re

_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
_OF_THE_WEB = re.compile(r"https?://\S+")


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
