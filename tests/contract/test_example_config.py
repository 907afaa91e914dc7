"""release-bot.example.yml is what people copy: it must load, and it must show every key that there is."""

import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from bot.app import build_deps, load_checklist, read_policy
from bot.clock import SystemClock
from bot.domain.policy import Action, Policy
from bot.errors import ConfigError
from bot.settings import Settings, load_settings
from bot.store.pool import Store
from checks.registry import Registry

EXAMPLE = Path(__file__).parents[2] / "release-bot.example.yml"
COMMENTED_KEY = re.compile(r"^(\s*)# ([a-z_]+: \$\{)", re.MULTILINE)  # a key that the reader may want to put in
COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:-[^}]*)?\}")


def _environment(text: str) -> dict[str, str]:
    """A value for each variable that has to be set, except those in comments."""
    text = COMMENT.sub("", text)
    return {name: f"value-of-{name}" for name, default in VARIABLE.findall(text) if not default}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type such as ``dict[str, TargetSection]`` or ``Sentry | None``."""
    parts = typing.get_args(annotation)
    if not parts and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in parts:
        yield from _models(part)


def _keys(model: type[BaseModel], at: str = "") -> Iterator[str]:
    """Every key that a file may have, with ``*`` for a name that the user chooses."""
    for name, field in model.model_fields.items():
        key = f"{at}{name}"
        yield key
        below = f"{key}.*." if typing.get_origin(field.annotation) is dict else f"{key}."
        for child in _models(field.annotation):
            yield from _keys(child, below)


def _keys_in_file(body: Mapping[str, Any], model_keys: set[str], at: str = "") -> Iterator[str]:
    """The keys in the file, with ``*`` where the model has it."""
    for name, value in body.items():
        key = at + (name if f"{at}{name}" in model_keys else "*")
        yield key
        if isinstance(value, Mapping):
            yield from _keys_in_file(value, model_keys, f"{key}.")


def test_the_example_loads_with_its_variables():
    """Settings, policy and checklist are valid, and the runbook is in the repository that is named."""
    settings = load_settings(EXAMPLE, _environment(EXAMPLE.read_text(encoding="utf-8")))
    deps = build_deps(settings, Store("postgresql://nobody@nowhere/nothing"), SystemClock(), str)
    assert deps.policy == Policy.model_validate(settings.policy)
    assert set(deps.targets) == {"staging", "production"}
    assert deps.checklist.runbook == "https://github.com/example/solvereign/blob/main/docs/DEPLOYMENT_RUNBOOK.md"


@pytest.mark.parametrize("name", sorted(_environment(EXAMPLE.read_text(encoding="utf-8"))))
def test_a_missing_variable_is_named_with_its_line(name):
    """The error names the variable and the line of the file."""
    environment = _environment(EXAMPLE.read_text(encoding="utf-8"))
    del environment[name]
    with pytest.raises(ConfigError, match=rf"release-bot\.example\.yml:\d+: .*{name} is not set"):
        load_settings(EXAMPLE, environment)


def test_every_key_of_the_settings_is_in_the_example(tmp_path):
    """Every key of the settings is in the example, at least as a comment."""
    text = COMMENTED_KEY.sub(r"\1\2", EXAMPLE.read_text(encoding="utf-8"))
    file = tmp_path / "release-bot.yml"
    file.write_text(text, encoding="utf-8")
    load_settings(file, _environment(text))
    all_keys = set(_keys(Settings))
    assert all_keys - set(_keys_in_file(yaml.safe_load(text), all_keys)) == set()


def test_every_key_of_the_policy_is_in_the_example():
    """Every key of the policy is in the example, and every action that can be given to roles is named."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert set(yaml.safe_load(text)["policy"]) == set(Policy.model_fields)
    assert [action for action in Action if not re.search(rf"\b{action}\b", text)] == []


def test_the_policy_of_the_example_is_the_default():
    """The policy of the example has the same rules as a configuration without that section."""
    settings = load_settings(EXAMPLE, _environment(EXAMPLE.read_text(encoding="utf-8")))
    policy = read_policy(settings, load_checklist(settings.checklist, Registry.load()))
    default = Policy()
    assert (policy.required, policy.optional, policy.four_eyes) == (
        default.required,
        default.optional,
        default.four_eyes,
    )
    assert {action: policy.roles_for(action) for action in Action} == {
        action: default.roles_for(action) for action in Action
    }
