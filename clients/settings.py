"""Section: the base of all settings, those of each client among them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SettingsSection(BaseModel):
    """Base of all sections: unknown keys are refused, so that a typo is found at the start; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
