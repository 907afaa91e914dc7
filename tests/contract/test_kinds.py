"""The promises that every kind keeps, whoever wrote it. A new kind is covered as soon as it is in the registry."""

import ast
import inspect
import re
import subprocess
import sys
from pkgutil import iter_modules
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import checks.kinds
import checks.solvereign
from checks.contract import ALLOWANCES, Kind, Outcome, Params
from checks.registry import BUILT_IN, Registry, RegistryError
from clients.stripe_account import StripeSettings
from clients.target import Target
from tests.fix_checks import run

REGISTRY = Registry.load()
BUILT = tuple(sorted(BUILT_IN))
NAMES = REGISTRY.names()  # those of the sample plugin in tests/plugin too
MUTATING = tuple(name for name in NAMES if REGISTRY.get(name).mutates)
VENDOR_PACKAGES = ("boto3", "kubernetes", "sentry_sdk", "stripe")  # each takes half a second or more to load

# The smallest parameters of the kinds that need some.
NEEDED: dict[str, dict[str, Any]] = {
    "attest": {"question": "Is it done?"},
    "grafana_panels": {"dashboard": "overview"},
    "http_json": {"path": "/health"},
    "http_pages": {"pages": [{"path": "/"}]},
    "repo_file": {"path": "claude.md", "text": "Status: V{bare}"},
    "sentry_quiet": {"since": "2026-01-16T18:00:00Z"},
    "sentry_rate": {"since": "2026-01-16T18:00:00Z"},
    "sql_verify": {"function": "billing.verify_billing_schema"},
    "workload_env": {"variables": ["SOLVEREIGN_SENTRY_DSN"]},
}

# What the checks before it hand on, for the kinds that need it.
NEEDS = {"go.backup": {"bucket": "backups", "key": "postgresql/one.dump", "size": 4096}}


def params_of(name: str) -> dict[str, Any]:
    """Parameters with which the kind may be run."""
    return dict(NEEDED.get(name, {}))


def test_every_file_is_in_the_registry():
    """A file or folder beside the kinds that nobody registered would be dead."""
    files = {module.name for package in (checks.kinds, checks.solvereign) for module in iter_modules(package.__path__)}

    assert set(BUILT) == files - {"product"}


@pytest.mark.parametrize("name", BUILT)
def test_file_is_named_like_the_kind(name):
    """Whoever reads ``kind: x`` in a checklist finds the file or folder x, with that one kind in it."""
    module = sys.modules[type(REGISTRY.get(name)).__module__]
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Kind) and value.__module__ == module.__name__
    ]

    assert module.__name__ in {f"checks.kinds.{name}", f"checks.kinds.{name}.kind", f"checks.solvereign.{name}"}
    assert [kind.name for kind in found] == [name]


def source_of(kind: Kind) -> str:
    """The modules in which a kind is written."""
    modules = {one.__module__: sys.modules[one.__module__] for one in type(kind).__mro__ if issubclass(one, Kind)}
    return "\n".join(inspect.getsource(module) for name, module in modules.items() if name != Kind.__module__)


@pytest.mark.parametrize("name", NAMES)
def test_kind_explains_itself(name):
    """The reference is made of these words: one line each, no full stop at the end."""
    kind = REGISTRY.get(name)

    assert kind.summary
    assert kind.summary.strip() == kind.summary
    assert "\n" not in kind.summary
    assert not kind.summary.endswith(".")
    assert inspect.getdoc(type(kind)) != inspect.getdoc(Kind)
    assert kind.run.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_declared(name):
    """Time limits in seconds, and names of what must not be touched by two checks at once."""
    kind = REGISTRY.get(name)

    assert 0 < kind.timeout <= 3600
    assert 0 < kind.grace <= 60
    for names in (kind.touches, kind.reads):
        assert isinstance(names, tuple)  # a string in its place would be taken letter by letter
        assert all(names)
    assert not set(kind.touches) & set(kind.reads)


def test_the_log_is_not_read_while_the_product_is_provoked():
    """Whoever sends what the product has to refuse touches its log, and whoever judges the log reads it."""
    assert {name for name in NAMES if "log" in REGISTRY.get(name).reads} == {"pod_logs"}
    assert {name for name in NAMES if "log" in REGISTRY.get(name).touches} == {
        "billing_gate", "stripe_probe", "stripe_webhook",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_who_logs_in_says_so(name):
    """The product counts log-ins and refuses the sixth: whoever makes one must let the bot count it."""
    kind = REGISTRY.get(name)
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(source_of(kind)))
        if isinstance(node, ast.Call)
    }

    assert ("login" in kind.spends) == bool(calls & {"login", "log_in", "session"})
    assert set(kind.spends) <= set(ALLOWANCES)


@pytest.mark.parametrize("name", NAMES)
def test_who_asks_the_cluster_declares_its_rights(name):
    """The doctor, the preflight of a deploy and the Roles of deploy/ know only what is declared."""
    kind = REGISTRY.get(name)
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(source_of(kind)))
        if isinstance(node, ast.Call)
    }

    assert bool(kind.rights(REGISTRY.validate(name, params_of(name)))) == bool(calls & {"kube", "read_workload"})


# What a call asks for -> the setting without which it cannot be made; helpers of other modules too.
ASKS = {
    "postgres": {"database_url"},
    "scratch_server": {"restore_database_url"},
    "s3": {"backup"},
    "sentry": {"sentry.token"},
    "error_counts": {"sentry.token"},
    "grafana": {"grafana.url", "grafana.token"},
    "stripe": {"stripe.api_key"},
    "github": {"github.repository"},
    "file_text": {"github.repository"},
    "release_range": {"github.repository"},
    "open_issues": {"github.repository"},
    "log_in": {"login"},
    "session": {"login"},
    "address": {"api_url", "frontend_url"},
}


@pytest.mark.parametrize("name", NAMES)
def test_who_asks_a_system_declares_what_it_uses(name):
    """`release-bot doctor` looks after what is declared, and after nothing else."""
    kind = REGISTRY.get(name)
    code = source_of(kind)
    run_on = "".join(
        part for part in re.split(r"(?m)^    (?=def )", code) if not part.startswith(("def uses", "def rights"))
    )
    asked = [names for call, names in ASKS.items() if re.search(rf"\b{call}\(", run_on)]
    required = set(re.findall(r"require\([^)]*\"([a-z_.]+)\"\)", run_on))
    declared = {use.setting for use in kind.uses(REGISTRY.validate(name, params_of(name)))}

    assert [names for names in asked if not names & declared] == []
    assert [setting for setting in required - {"kubernetes", "backup"} if not _named(setting, declared)] == []
    assert declared <= SETTINGS


def _named(setting: str, declared: set[str]) -> bool:
    """Whether it is declared, or, of a section, something in it."""
    return any(use == setting or use.startswith(f"{setting}.") for use in declared)


def _settings(model: type[BaseModel], before: str = "") -> set[str]:
    """The dotted names of the parts of a Target and of what is in them."""
    found = set()
    for key, field in model.model_fields.items():
        found.add(before + key)
        for part in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(part) and issubclass(part, BaseModel):
                found |= _settings(part, f"{before}{key}.")
    return found


SETTINGS = _settings(Target)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_parameter_is_refused(name):
    """A typo in a checklist is found when it is read, and named."""
    with pytest.raises(RegistryError, match="surprise"):
        REGISTRY.validate(name, params_of(name) | {"surprise": 1})


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_values(name):
    """Parameters are read once and never change."""
    params = REGISTRY.validate(name, params_of(name))

    assert isinstance(params, Params)
    assert type(params).model_config["frozen"] is True


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in {"all_of", "announced", "attest"}]
)  # these ask no target
def test_empty_target_is_never_a_pass(name):
    """With nothing configured nothing can be found out: ERROR that names what is missing and what to set."""
    result = run(name, params_of(name), Target(name="empty", mutable=True), needs=NEEDS)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("empty has no ")
    assert result.answer.hint.startswith("Set ")


def test_attest_is_never_a_pass_by_itself():
    """What only a person can say stays open until a person said it."""
    result = run("attest", params_of("attest"), Target(name="empty"))

    assert result.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("name", NAMES)
def test_answer_carries_evidence(name):
    """Also an answer that is no pass says what was asked, what was expected and what was seen."""
    evidence = run(name, params_of(name), Target(name="empty", mutable=True), needs=NEEDS).answer.evidence

    assert evidence.asked
    assert evidence.expected
    assert evidence.seen


@pytest.mark.parametrize("name", MUTATING)
@pytest.mark.parametrize(
    ("target", "told"),
    [
        (Target(name="qa"), "qa is not mutable"),
        (Target(name="production", mutable=True), "production is production by its name"),
        (Target(name="staging", environment="Live-EU", mutable=True), "Live-EU is production by its name"),
        (Target(name="qa", mutable=True, stripe=StripeSettings(api_key="sk_live_x")), "is a live one"),
        (Target(name="qa", mutable=True, stripe=StripeSettings(api_key="rk_live_x")), "is a live one"),
    ],
    ids=["not mutable", "named production", "environment production", "live secret key", "live restricted key"],
)
def test_mutating_kind_stays_off_production(name, target, told):
    """A kind that changes something runs on test systems only, whatever else is configured."""
    result = run(name, params_of(name), target)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("refused: ")
    assert told in result.answer.summary


@pytest.mark.parametrize("name", NAMES)
def test_who_records_an_undo_can_carry_it_out(name):
    """A kind that writes down a debt has the way to pay it, and has said that it mutates; no other kind has one."""
    kind = type(REGISTRY.get(name))
    records = any(
        isinstance(node, ast.Attribute) and node.attr in {"record", "undo_after"}
        for node in ast.walk(ast.parse(source_of(REGISTRY.get(name))))
    )

    assert records == (kind.undo is not Kind.undo)
    assert kind.mutates or not records


def test_kinds_are_imported_without_vendor_packages():
    """Reading a checklist needs all kinds and must not load what only some of them use."""
    code = (
        "import sys\n"
        "from checks.registry import Registry\n"
        f"for name in {BUILT!r}: Registry.load().get(name)\n"
        f"print(*[name for name in {VENDOR_PACKAGES!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
