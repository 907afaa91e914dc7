"""The registry: kinds by name, parameters, plugins; mistakes are loud. What each kind promises: tests/contract."""

import sys

import pytest

from bot.cli import main
from checks.registry import Registry, RegistryError

PLUGIN = """
from checks.contract import Kind, Params

class Moon(Kind):
    name = "moon_phase"
    summary = "Is the moon full?"
    params = Params

    def run(self, params, ctx):
        raise NotImplementedError
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a distribution with one entry point for kinds, as pip does."""

    def install(name, value, module=PLUGIN):
        (tmp_path / "moon_plugin.py").write_text(module)
        info = tmp_path / "moon_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moon-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[release_bot.kinds]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "moon_plugin", raising=False)

    yield install
    sys.modules.pop("moon_plugin", None)


def test_a_kind_is_the_same_object_each_time():
    """Asking twice for a kind returns the same object."""
    registry = Registry.load()
    assert registry.get("attest") is registry.get("attest")


def test_an_unknown_kind_is_rejected_with_a_suggestion():
    """A misspelled kind is rejected with the name that was probably meant."""
    with pytest.raises(RegistryError, match="unknown kind 'sql_verfy', did you mean 'sql_verify'"):
        Registry.load().get("sql_verfy")


def test_valid_parameters_become_a_model():
    """The parameters of a checklist become the kind's own model."""
    params = Registry.load().validate("sql_verify", {"function": "billing.verify_billing_schema", "rows": [5]})
    assert params.model_dump() == {"function": "billing.verify_billing_schema", "rows": (5,), "allow": ("PASS",)}


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"function": "verify()", "rows": [5]}, "kind sql_verify: function: String should match"),
        ({}, "kind sql_verify: function: Field required"),
        ({"function": "verify", "row": [5]}, "unknown parameter row, did you mean 'rows'"),
        ({"function": "verify", "rows": ["five"]}, "rows.0: Input should be a valid integer"),
    ],
)
def test_each_wrong_parameter_is_named(params, complaint):
    """An invalid, missing or unknown parameter is named in the error."""
    with pytest.raises(RegistryError, match=complaint.replace("(", r"\(")):
        Registry.load().validate("sql_verify", params)


def test_a_plugin_adds_a_kind(install):
    """A kind of an installed plugin is listed beside the built-in ones."""
    install("moon_phase", "moon_plugin:Moon")
    registry = Registry.load()

    assert "moon_phase" in registry.names()
    assert registry.get("moon_phase").summary == "Is the moon full?"


@pytest.mark.parametrize(
    ("name", "value", "module", "complaint"),
    [
        ("attest", "moon_plugin:Moon", PLUGIN, "kind attest of plugin moon-plugin already exists"),
        ("moon_phase", "moon_plugin:Sun", PLUGIN, "moon_phase of plugin moon-plugin does not import .* AttributeError"),
        ("moon_phase", "moon_plugin:Moon", "1 / 0", "moon_phase of plugin moon-plugin does not import .* ZeroDivision"),
        ("moon", "moon_plugin:Moon", PLUGIN, "moon_plugin:Moon calls itself 'moon_phase'"),
        ("params", "moon_plugin:Params", PLUGIN, "moon_plugin:Params isn't a subclass of checks.contract.Kind"),
    ],
)
def test_a_bad_plugin_stops_the_start(install, name, value, module, complaint):
    """A plugin that takes an existing name, does not import or is no kind is named in the error."""
    install(name, value, module)
    with pytest.raises(RegistryError, match=complaint):
        Registry.load()


def test_a_bad_plugin_ends_a_command_without_a_traceback(install, capsys):
    """The message names the package and what to do, without a traceback."""
    install("moon_phase", "moon_plugin:Moon", "1 / 0")
    assert main(["checklist", "schema"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        "release-bot: A kind of check can't be loaded: kind moon_phase of plugin moon-plugin does not"
    )
    assert message.endswith("Fix or uninstall that plugin.\n")
    assert "Traceback" not in message


def test_a_kind_with_required_parameters_needs_an_example(install):
    """A kind with required parameters but without an example is an error when it is first asked for, because its needs
    cannot be known.
    """
    demanding = PLUGIN.replace("class Moon", "class MoonParams(Params):\n    phase: str\n\nclass Moon").replace(
        "params = Params", "params = MoonParams"
    )
    install("moon_phase", "moon_plugin:Moon", demanding)

    with pytest.raises(RegistryError, match=r"kind moon_phase: its `example` isn't valid: phase"):
        Registry.load().get("moon_phase")
