"""What an alarm of the watch is called."""

from __future__ import annotations

from bot.domain.watch import MOST_ALARMS, AlarmKind, ProbeFinding


def alarm_title(finding: ProbeFinding) -> str:
    """The title that an alarm about ``finding`` is stored with."""
    if finding.events:
        names = ", ".join(event.short_id for event in finding.events[:MOST_ALARMS])
        return f"{len(finding.events)} at once, among them {names}"
    return f"no answer: {finding.title}" if finding.kind is AlarmKind.SILENT else finding.title
