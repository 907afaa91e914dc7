"""manifest.yml is what Slack accepts, and asks for exactly what the code needs.

The schema is Slack's own: github.com/slackapi/manifest-schema, MIT licence.
"""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from bot.slack.checkup import needed_scopes
from bot.slack.features import COMMANDS
from bot.slack.grammar import COMMAND
from bot.slack.http_mode import PATH

MANIFEST = yaml.safe_load((Path(__file__).parents[2] / "manifest.yml").read_text(encoding="utf-8"))
SCHEMA = json.loads(Path(__file__).with_name("slack-manifest.schema.json").read_text(encoding="utf-8"))


def test_slack_accepts_the_manifest():
    """The manifest is valid under the schema that Slack publishes."""
    jsonschema.validate(MANIFEST, SCHEMA)


def test_the_schema_rejects_a_wrong_manifest():
    """A manifest without a name is invalid under the schema."""
    wrong = {**MANIFEST, "display_information": {}}
    with pytest.raises(jsonschema.ValidationError, match="'name' is a required property"):
        jsonschema.validate(wrong, SCHEMA)


def test_the_manifest_asks_for_exactly_the_scopes_that_are_needed():
    """The manifest asks for the scopes of the methods that the code uses, and no more."""
    assert sorted(needed_scopes()) == MANIFEST["oauth_config"]["scopes"]["bot"]


def test_the_command_is_that_of_the_grammar():
    """Slack offers one command, escapes links and mentions, and its hint names commands that exist."""
    (command,) = MANIFEST["features"]["slash_commands"]
    hint_words = {usage.split()[0] for usage in command["usage_hint"].split("|")}
    assert (command["command"], command["should_escape"]) == (COMMAND, True)
    assert hint_words <= set(COMMANDS)


def test_the_manifest_enables_socket_mode_and_interactivity():
    """Clicks arrive over the socket only with both settings."""
    settings = MANIFEST["settings"]
    assert (settings["socket_mode_enabled"], settings["interactivity"]["is_enabled"]) == (True, True)
    assert "request_url" not in settings["interactivity"]


def test_the_manifest_of_http_mode_is_valid_too():
    """The changes on the page about HTTP mode make a valid manifest with the path that the bot serves."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "http-mode.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    changes = yaml.safe_load(block.group(1))
    manifest = copy.deepcopy(MANIFEST)
    manifest["features"]["slash_commands"][0] |= changes["features"]["slash_commands"][0]
    manifest["settings"] |= changes["settings"]

    jsonschema.validate(manifest, SCHEMA)
    urls = {manifest["features"]["slash_commands"][0]["url"], manifest["settings"]["interactivity"]["request_url"]}
    assert urls == {f"https://release-bot.example.com{PATH}"}
    assert not manifest["settings"]["socket_mode_enabled"]
