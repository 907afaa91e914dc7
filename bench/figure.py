"""Figure: one measured number beside the one that was promised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """``at_least``: more is better; else less is."""

    what: str
    measured: float
    promised: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.promised if self.at_least else self.measured <= self.promised

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        word = "holds" if self.holds else "MISSED"
        return f"{word:7} {self.what:66} {self.measured:10.3f} {self.unit:5} promised {sign} {self.promised:g}"


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of ``values`` lie."""
    sorted_values = sorted(values)
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]
