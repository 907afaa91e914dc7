"""What the workspace takes from the app's manifest: the scopes that were granted and the commands that exist."""

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Manifest:
    """The installed app as the workspace knows it."""

    scopes: tuple[str, ...]  # of the bot token
    commands: dict[str, bool]  # command -> should_escape
    interactive: bool
    socket_mode: bool
    request_url: str  # of HTTP mode; empty in Socket Mode


def read_manifest(path: Path) -> Manifest:
    """Read an app manifest (docs.slack.dev/reference/app-manifest).

    Raises ValueError when the file holds no mapping; Slack itself checks a manifest in far more detail.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{path}: an app manifest is a mapping")  # noqa: TRY004 - the value of the file is wrong
    features = document.get("features", {})
    settings = document.get("settings", {})
    interactivity = settings.get("interactivity", {})
    return Manifest(
        scopes=tuple(document.get("oauth_config", {}).get("scopes", {}).get("bot", ())),
        commands={
            command["command"]: bool(command.get("should_escape")) for command in features.get("slash_commands", ())
        },
        interactive=bool(interactivity.get("is_enabled")),
        socket_mode=bool(settings.get("socket_mode_enabled")),
        request_url=str(interactivity.get("request_url", "")),
    )
