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
    """It is valid under the schema that Slack publishes."""
    jsonschema.validate(MANIFEST, SCHEMA)


def test_the_schema_refuses_a_wrong_manifest():
    """The schema is no formality: a manifest without a name does not pass."""
    wrong = {**MANIFEST, "display_information": {}}
    with pytest.raises(jsonschema.ValidationError, match="'name' is a required property"):
        jsonschema.validate(wrong, SCHEMA)


def test_it_asks_for_the_scopes_that_the_code_needs_and_no_more():
    """Least privilege: what no method needs is not asked for."""
    assert sorted(needed_scopes()) == MANIFEST["oauth_config"]["scopes"]["bot"]


def test_the_command_is_the_grammar_s():
    """Slack offers one command, sends links and mentions escaped as the grammar reads them, and hints at real words."""
    (command,) = MANIFEST["features"]["slash_commands"]
    hinted = {usage.split()[0] for usage in command["usage_hint"].split("|")}
    assert (command["command"], command["should_escape"]) == (COMMAND, True)
    assert hinted <= set(COMMANDS)


def test_it_uses_socket_mode_and_interactivity():
    """Clicks arrive over the socket; without these two settings none would."""
    settings = MANIFEST["settings"]
    assert (settings["socket_mode_enabled"], settings["interactivity"]["is_enabled"]) == (True, True)
    assert "request_url" not in settings["interactivity"]


def test_the_manifest_of_http_mode_is_valid_too():
    """The parts that the how-to tells to change make a manifest that Slack accepts, with the path that the bot serves."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "http-mode.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    changed = yaml.safe_load(found.group(1))
    manifest = copy.deepcopy(MANIFEST)
    manifest["features"]["slash_commands"][0] |= changed["features"]["slash_commands"][0]
    manifest["settings"] |= changed["settings"]

    jsonschema.validate(manifest, SCHEMA)
    urls = {manifest["features"]["slash_commands"][0]["url"], manifest["settings"]["interactivity"]["request_url"]}
    assert urls == {f"https://release-bot.example.com{PATH}"}
    assert not manifest["settings"]["socket_mode_enabled"]
