"""The promises that every kind keeps, whoever wrote it. A new kind is covered as soon as it is in the registry."""

import inspect
import subprocess
import sys
from pkgutil import iter_modules
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import checks.kinds
import checks.solvereign
from checks.contract import Kind, Outcome, Params
from checks.registry import BUILT_IN, Registry, RegistryError
from clients.needs import Setting
from clients.settings import StripeSettings
from clients.target import Target
from tests.fix_checks import run

REGISTRY = Registry.load()
BUILT_IN_NAMES = tuple(sorted(BUILT_IN))
NAMES = REGISTRY.names()  # those of the sample plugin in tests/plugin too
MUTATING = tuple(name for name in NAMES if REGISTRY.get(name).mutates)
VENDOR_PACKAGES = ("boto3", "kubernetes", "sentry_sdk", "stripe")  # each takes half a second or more to load

# What the checks before it hand on, for the kinds that need it.
NEEDS = {"go.backup": {"bucket": "backups", "key": "postgresql/one.dump", "size": 4096}}


def params_of(name: str) -> dict[str, Any]:
    """Parameters with which the kind may be run."""
    return dict(REGISTRY.get(name).example)


def test_every_file_is_in_the_registry():
    """A file or folder beside the kinds that is not registered would be dead code."""
    files = {module.name for package in (checks.kinds, checks.solvereign) for module in iter_modules(package.__path__)}

    assert set(BUILT_IN_NAMES) == files - {"product"}


@pytest.mark.parametrize("name", BUILT_IN_NAMES)
def test_a_file_is_named_like_its_kind(name):
    """The file or folder x contains the kind x of a checklist, and no other kind."""
    module = sys.modules[type(REGISTRY.get(name)).__module__]
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Kind) and value.__module__ == module.__name__
    ]

    assert module.__name__ in {f"checks.kinds.{name}", f"checks.kinds.{name}.kind", f"checks.solvereign.{name}"}
    assert [kind.name for kind in classes] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_describes_itself_in_one_line(name):
    """The reference is made of these texts, which are one line each without a full stop."""
    kind = REGISTRY.get(name)

    assert kind.summary
    assert kind.summary.strip() == kind.summary
    assert "\n" not in kind.summary
    assert not kind.summary.endswith(".")
    assert inspect.getdoc(type(kind)) != inspect.getdoc(Kind)
    assert kind.run.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_limits_and_resources_are_declared(name):
    """Time limits are in seconds, and resources are names that two checks cannot touch at once."""
    kind = REGISTRY.get(name)

    assert 0 < kind.timeout <= 3600
    assert 0 < kind.grace <= 60
    for names in (kind.touches, kind.reads):
        assert isinstance(names, tuple)  # a string in its place would be taken letter by letter
        assert all(names)
    assert not set(kind.touches) & set(kind.reads)


def test_the_log_is_not_read_while_the_product_is_provoked():
    """Kinds that provoke errors touch the product's log, and the kind that judges the log reads it."""
    assert {name for name in NAMES if "log" in REGISTRY.get(name).reads} == {"pod_logs"}
    assert {name for name in NAMES if "log" in REGISTRY.get(name).touches} == {
        "billing_gate", "stripe_probe", "stripe_webhook",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_setting_exists_in_the_configuration(name):
    """`release-bot doctor` examines the settings that kinds declare, so each must be a name that the configuration
    knows.
    """
    kind = REGISTRY.get(name)
    needs = kind.needs(REGISTRY.validate(name, params_of(name)))

    assert {need.setting for need in needs if isinstance(need, Setting)} <= SETTINGS


def _settings(model: type[BaseModel], before: str = "") -> set[str]:
    """The dotted names of the parts of a target and of their fields."""
    names = set()
    for key, field in model.model_fields.items():
        names.add(before + key)
        for part in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(part) and issubclass(part, BaseModel):
                names |= _settings(part, f"{before}{key}.")
    return names


SETTINGS = _settings(Target)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_is_rejected(name):
    """A misspelled parameter is rejected with the checklist, and is named."""
    with pytest.raises(RegistryError, match="surprise"):
        REGISTRY.validate(name, params_of(name) | {"surprise": 1})


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_immutable(name):
    """Parameters are read once and never change."""
    params = REGISTRY.validate(name, params_of(name))

    assert isinstance(params, Params)
    assert type(params).model_config["frozen"] is True


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in {"all_of", "announced", "attest"}]
)  # these ask no target
def test_an_empty_target_is_never_a_pass(name):
    """Without configuration the answer is an ERROR that names what is missing and what to set."""
    result = run(name, params_of(name), Target(name="empty", mutable=True), needs=NEEDS)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("empty has no ")
    assert result.answer.hint.startswith("Set ")


def test_attest_is_never_a_pass_by_itself():
    """A question for a person is INCONCLUSIVE until a person answers it."""
    result = run("attest", params_of("attest"), Target(name="empty"))

    assert result.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_has_evidence(name):
    """An answer that is no PASS has evidence of what was asked, expected and seen, too."""
    evidence = run(name, params_of(name), Target(name="empty", mutable=True), needs=NEEDS).answer.evidence

    assert evidence.asked
    assert evidence.expected
    assert evidence.seen


@pytest.mark.parametrize("name", MUTATING)
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target(name="qa"), "qa isn't mutable"),
        (Target(name="production", mutable=True), "production is production by its name"),
        (Target(name="staging", environment="Live-EU", mutable=True), "Live-EU is production by its name"),
        (Target(name="qa", mutable=True, stripe=StripeSettings(api_key="sk_live_x")), "is a live one"),
        (Target(name="qa", mutable=True, stripe=StripeSettings(api_key="rk_live_x")), "is a live one"),
    ],
    ids=["not mutable", "named production", "environment production", "live secret key", "live restricted key"],
)
def test_a_mutating_kind_is_refused_on_production(name, target, reason):
    """A kind that changes something runs on test systems only, whatever else is configured."""
    result = run(name, params_of(name), target)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("refused: ")
    assert reason in result.answer.summary


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_has_an_undo_if_and_only_if_it_declares_a_change(name):
    """A kind with an undo declares that it changes data, and a kind that declares so has an undo."""
    kind = REGISTRY.get(name)
    has_undo = type(kind).undo is not Kind.undo

    assert kind.mutates or not has_undo
    assert has_undo or not kind.mutates or name == "sentry_receives"  # an event that was sent stays sent


def test_kinds_are_imported_without_vendor_packages():
    """Reading a checklist loads all kinds and must not load packages that only some of them use."""
    code = (
        "import sys\n"
        "from checks.registry import Registry\n"
        f"for name in {BUILT_IN_NAMES!r}: Registry.load().get(name)\n"
        f"print(*[name for name in {VENDOR_PACKAGES!r} if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert process.stdout.split() == []
