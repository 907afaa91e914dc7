"""Reading release-bot.yml and the environment: values, errors with file, line and key, and no secret in them."""

import json
from pathlib import Path

import pytest

from bot.app import read_policy
from bot.errors import ConfigError
from bot.settings import Settings, load_settings
from tests.unit.factories import make_checklist

SECRET = "hunter2-hunter2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the test's configuration."""
    return tmp_path / "release-bot.yml"


def load(file: Path, text: str, **environ: str) -> Settings:
    """Write the configuration file and read it."""
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ)


def config_error(file: Path, text: str, **environ: str) -> str:
    """The message of the error about a configuration, without its folder; asserts that it contains no secret."""
    with pytest.raises(ConfigError) as error:
        load(file, text, **environ)
    message = error.value.user_message
    assert SECRET not in message + error.value.hint
    return message.replace(str(file.parent), "")


def test_an_empty_file_has_all_defaults(file: Path) -> None:
    """The defaults are the embedded database, the shipped checklist and a watch of fifteen minutes."""
    settings = load(file, "")
    assert (settings.database_url, settings.checklist, settings.environment) == (None, "solvereign", "production")
    assert [span.total_seconds() for span in settings.watch_times.values()] == [900, 30, 60, 300]


def test_variables_of_the_environment_are_replaced(file: Path) -> None:
    """A variable is replaced anywhere in a text, and may have a default."""
    text = "github: {url: 'https://${HOST}/api', token: '${TOKEN}', ref: '${REF:-main}'}"
    github = load(file, text, HOST="git.example.com", TOKEN=SECRET).github
    assert github is not None
    assert github.token is not None
    assert (str(github.url), github.token.get_secret_value(), github.ref) == (
        "https://git.example.com/api",
        SECRET,
        "main",
    )


@pytest.mark.parametrize(
    ("section", "files"),
    [
        ("{repository: o/r}", "https://github.com/o/r/blob/main/"),
        ("{repository: o/r, ref: stable}", "https://github.com/o/r/blob/stable/"),
        ("{repository: o/r, url: 'https://git.example.com/api/v3/'}", "https://git.example.com/o/r/blob/main/"),
        ("{repository: o/r, url: 'https://api.octo.ghe.com'}", "https://octo.ghe.com/o/r/blob/main/"),
        ("{repository: o/r, url: 'http://127.0.0.1:8080/'}", ""),
        ("{repository: o/r, url: 'https://api.proxy.example.com/'}", ""),
        ("{repository: o/r, url: 'http://127.0.0.1:8080/', web_url: 'https://git.x'}", "https://git.x/o/r/blob/main/"),
        ("{}", ""),
    ],
)
def test_the_address_of_the_repository_s_files(file: Path, section: str, files: str) -> None:
    """The address is derived from that of GitHub's API, or is the one in the configuration."""
    github = load(file, f"github: {section}").github
    assert github is not None
    assert github.files == files


def test_the_value_of_a_variable_is_not_interpolated_again(file: Path) -> None:
    """A password that looks like a variable is not replaced."""
    settings = load(file, "database_url: ${URL}", URL="postgresql://u:${HOME}@h/d")
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:${HOME}@h/d"


def test_a_secret_is_read_from_a_mounted_file(file: Path) -> None:
    """`token_file` is the content of a file beside the configuration, without its line end."""
    (file.parent / "token").write_text(f"{SECRET}\n", encoding="utf-8")
    settings = load(file, "stripe:\n  api_key_file: token\ndatabase_url_file: token")
    assert settings.stripe is not None
    assert settings.stripe.api_key is not None
    assert settings.stripe.api_key.get_secret_value() == SECRET
    assert settings.secrets() == [SECRET, SECRET]


REPEATS = "it is nested too deeply, or its aliases repeat themselves"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(  # nine lines that stand for 400 million
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slack:\n  chanel: C1", "/release-bot.yml:2: slack.chanel: Extra inputs are not permitted"),
        ("watch:\n  minutes: 0", "/release-bot.yml:2: watch.minutes: Input should be greater than 0"),
        ("log_level: loud", "/release-bot.yml:1: log_level: Input should be 'debug', 'info', 'warning' or 'error'"),
        (
            "github:\n  token: ${NOT_SET}",
            "/release-bot.yml:2: github.token: the environment variable NOT_SET is not set",
        ),
        (
            "targets:\n  staging:\n    database_url_file: gone",
            "/release-bot.yml:3: targets.staging.database_url_file: /gone can't be read: No such file or directory",
        ),
        (
            "slack:\n  roles:\n    qa: [quinn]",
            "/release-bot.yml:3: slack.roles.qa: 'quinn' isn't a Slack id; copy the member id (U…) or the user group id (S…)",
        ),
        (
            "targets:\n  production: {mutable: true}",
            "/release-bot.yml:2: targets.production.mutable: checks must not change data in the environment you deploy to",
        ),
        ("- a\n- b", "/release-bot.yml:1: the configuration is a mapping of sections such as slack: and targets:"),
        ("slack: [", "/release-bot.yml:2: not valid YAML: did not find expected node content"),
        ("slack: C1", "/release-bot.yml:1: slack: Input should be a valid dictionary or instance of Slack"),
        ("slack: &a\n  roles: *a", f"/release-bot.yml:2: not valid YAML: {REPEATS}"),
        (BOMB, f"/release-bot.yml:6: not valid YAML: {REPEATS}"),
        (f"slack: {'[' * 5000}{']' * 5000}", f"/release-bot.yml:1: not valid YAML: {REPEATS}"),
        ("slack: C\x07", "/release-bot.yml:1: not valid YAML: it has characters that YAML doesn't allow"),
    ],
)
def test_an_error_names_file_line_and_key(file: Path, text: str, message: str) -> None:
    """An invalid configuration is rejected with file, line and key, so that the reader finds the place."""
    assert config_error(file, text) == message


@pytest.mark.parametrize(
    "text",
    [
        f"database_url: [{SECRET}]",
        f"stripe: {{api_key: {{is: {SECRET}}}}}",
        f"github:\n  token: *{SECRET}",
        f"github:\n  token: !{SECRET}",
        f"github:\n  token: {SECRET}\n bad",
        f"github: {SECRET}",
        f"sentry: {{url: '{SECRET}'}}",
        f"http: {{port: {SECRET}}}",
    ],
)
def test_an_error_contains_no_secret(file: Path, text: str) -> None:
    """An error beside a secret does not repeat it (promise P10)."""
    assert config_error(file, text).startswith("/release-bot.yml:")


def test_another_encoding_is_a_clear_error(file: Path) -> None:
    """A file that is not in UTF-8 is a clear error instead of a traceback."""
    file.write_bytes(b"slack: \xff\xfe")
    with pytest.raises(ConfigError, match="isn't UTF-8"):
        load_settings(file, {})


def test_the_environment_overrides_the_file(file: Path) -> None:
    """Variables of the environment override the file, and replace a section that is missing in it."""
    environ = {
        "SLACK_BOT_TOKEN": "xoxb-1",
        "SLACK_CHANNEL_ID": "C2",
        "DATABASE_URL": "postgresql://h/d",
        "QA_IDS": "U123, S456",
    }
    for settings in (
        load(file, "slack: {channel: C1, roles: {qa: [U999]}}", **environ),
        load(file, "slack:", **environ),
    ):
        assert settings.slack.channel == "C2"
        assert settings.slack.roles.qa == ("U123", "S456")
        assert settings.slack.bot_token is not None
        assert settings.slack.bot_token.get_secret_value() == "xoxb-1"
        assert sorted(settings.secrets()) == ["postgresql://h/d", "xoxb-1"]


def test_an_invalid_section_is_an_error_even_if_the_environment_sets_it(file: Path) -> None:
    """A section that is no mapping is an error that names it."""
    message = config_error(file, "slack: C1", SLACK_CHANNEL_ID="C2", QA_IDS="U123")
    assert message.startswith("/release-bot.yml:1: slack: Input should be a valid dictionary")


def test_the_path_of_the_file_comes_from_the_environment(file: Path) -> None:
    """RELEASE_BOT_CONFIG names the file, and a named file must exist."""
    file.write_text("environment: live", encoding="utf-8")
    assert load_settings(None, {"RELEASE_BOT_CONFIG": str(file)}).environment == "live"
    for path, environ in ((file.parent / "gone", {}), (None, {"RELEASE_BOT_CONFIG": "gone"})):
        with pytest.raises(ConfigError, match="gone doesn't exist"):
            load_settings(path, environ)


def test_all_targets_share_the_vendor_sections(file: Path) -> None:
    """One sentry section counts for every target."""
    text = "sentry: {organization: acme}\ntargets: {staging: {mutable: true}, production: {}}"
    targets = load(file, text).target_values()
    assert [(name, target.name, target.mutable) for name, target in targets.items()] == [
        ("staging", "staging", True),
        ("production", "production", False),
    ]
    assert {target.sentry.organization for target in targets.values() if target.sentry} == {"acme"}


PRODUCTION = """
  production:
    database_url: postgresql://reader:two@DB.example.com/app
    migrate_database_url: postgresql://owner:three@db.example.com:6432/app
    api_url: https://api.example.com/
    kubernetes: {context: one, namespace: shop}
"""


@pytest.mark.parametrize(
    ("mine", "keys"),
    [
        ("database_url: postgresql://checks:one@db.example.com:5432/app?sslmode=require", "database_url database_url"),
        ("database_url: postgresql://checks:one@db.example.com:6432/app", "database_url migrate_database_url"),
        ("database_url: postgresql://checks@a.example.com:1,db.example.com/app", "database_url database_url"),
        ("database_url: postgresql:///app?host=db.example.com&user=checks", "database_url database_url"),
        ("database_url: host=db.example.com dbname=app user=checks", "database_url database_url"),
        ("restore_database_url: postgresql://restore:one@db.example.com/app", "restore_database_url database_url"),
        ("api_url: https://API.example.com:443", "api_url api_url"),
        ("kubernetes: {context: one, namespace: shop, container: other}", "kubernetes kubernetes"),
    ],
)
def test_a_mutable_target_must_not_lead_to_production(file: Path, mine: str, keys: str) -> None:
    """An address of production in a mutable target stops the start; both keys are named, the address is not."""
    one, other = keys.split()
    message = (
        f"checks change data here, but targets.staging.{one} and targets.production.{other} point to the same place"
    )
    where = f"targets.staging.{one}"
    text = f"targets:\n  staging:\n    mutable: true\n    {mine}{PRODUCTION}"
    assert config_error(file, text) == f"/release-bot.yml:4: {where}: {message}: change one of them"
    load(file, text.replace("mutable: true", "mutable: false"))


@pytest.mark.parametrize(
    "mine",
    [
        "database_url: postgresql://reader:two@db.example.com/app_staging",
        "database_url: postgresql://reader:two@staging.example.com/app",
        "restore_database_url: postgresql://restore:one@db.example.com/postgres",
        "api_url: https://api.example.com/staging/",
        "api_url: https://api.example.com:8443/",
        "kubernetes: {context: one, namespace: shop-staging}",
        "kubernetes: {context: one, namespace: shop, deployment: other}",
        "kubernetes: {context: two, namespace: shop}",
    ],
)
def test_similar_targets_are_accepted(file: Path, mine: str) -> None:
    """One server with two databases and one cluster with two namespaces are accepted."""
    load(file, f"targets:\n  staging:\n    mutable: true\n    {mine}{PRODUCTION}")


def test_settings_do_not_print_their_secrets(file: Path) -> None:
    """Neither repr nor a dump of the settings contains a secret."""
    settings = load(file, "github: {token: '${TOKEN}'}", TOKEN=SECRET)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_token_counts_as_not_set(file: Path, empty: str) -> None:
    """An empty value of a token is ignored, in the environment and in the file."""
    settings = load(
        file,
        f"slack: {{app_token: {json.dumps(empty)}}}\ndatabase_url: {json.dumps(empty)}",
        SLACK_BOT_TOKEN=empty,
        SLACK_SIGNING_SECRET=empty,
        DATABASE_URL=empty,
    )
    slack = settings.slack
    assert (slack.bot_token, slack.app_token, slack.signing_secret, settings.database_url) == (None, None, None, None)


def test_an_empty_variable_in_the_file_is_an_error(file: Path) -> None:
    """A variable that the file names must not be empty, unless it has a default."""
    message = config_error(file, "github:\n  token: ${TOKEN}", TOKEN="")
    assert (
        message == "/release-bot.yml:2: github.token: the environment variable TOKEN is empty, which counts as not set"
    )
    assert load(file, "data_dir: ${DIR:-here}", DIR="").data_dir == "here"


def test_a_line_end_is_removed_from_a_token(file: Path) -> None:
    """A token with a line end, as from a file written by hand, is read without it."""
    token = load(file, "", SLACK_BOT_TOKEN="xoxb-1-2-abcdefgh\n").slack.bot_token
    assert token is not None
    assert token.get_secret_value() == "xoxb-1-2-abcdefgh"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "deploy.bakend: {attest: [qa]}",
            (
                "policy.lines.deploy.bakend: the checklist solvereign has no such check, section or step,"
                " did you mean 'deploy.backend'?"
            ),
        ),
        ("deploy.backend: {waive: [qa]}", "policy.lines.deploy.backend.waive: a step can't be waived."),
    ],
)
def test_a_rule_for_an_unknown_step_is_an_error(file: Path, rule: str, message: str) -> None:
    """A rule with a misspelled step, or for an action that a step does not have, is an error."""
    with pytest.raises(ConfigError) as error:
        read_policy(load(file, f"policy: {{lines: {{{rule}}}}}"), make_checklist())
    assert error.value.user_message == message


def test_an_old_key_is_read_under_its_new_name(file: Path) -> None:
    """A file with the old names of keys has the same values, and a notice for each names the new one."""
    old = load(file, "policy: {people: 2, may: {start: [qa]}}\nwatch: {late_seconds: 1, patience_minutes: 2}")
    new = load(
        file, "policy: {min_approvers: 2, permissions: {start: [qa]}}\nwatch: {settle_seconds: 1, no_answer_minutes: 2}"
    )
    assert (old.policy, old.watch, new.notices) == (new.policy, new.watch, ())
    assert sorted(old.notices) == [
        "the key policy.may is called policy.permissions now",
        "the key policy.people is called policy.min_approvers now",
        "the key watch.late_seconds is called watch.settle_seconds now",
        "the key watch.patience_minutes is called watch.no_answer_minutes now",
    ]


def test_a_key_under_both_names_is_refused(file: Path) -> None:
    """It cannot be known which of the two values is meant."""
    text = "watch:\n  settle_seconds: 30\n  late_seconds: 60\n"
    assert config_error(file, text) == (
        "/release-bot.yml:3: watch.late_seconds: watch.late_seconds is the old name of watch.settle_seconds,"
        " and both are there: leave out late_seconds"
    )
