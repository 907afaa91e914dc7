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
    """Where the configuration of the test is written."""
    return tmp_path / "release-bot.yml"


def load(file: Path, text: str, **environ: str) -> Settings:
    """Write the file and read it."""
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ)


def refused(file: Path, text: str, **environ: str) -> str:
    """What is said about a configuration; no secret is."""
    with pytest.raises(ConfigError) as error:
        load(file, text, **environ)
    said = error.value.user_message
    assert SECRET not in said + error.value.hint
    return said.replace(str(file.parent), "")


def test_an_empty_file_is_all_defaults(file: Path) -> None:
    """The embedded database, the shipped checklist, fifteen minutes."""
    settings = load(file, "")
    assert (settings.database_url, settings.checklist, settings.environment) == (None, "solvereign", "production")
    assert [span.total_seconds() for span in settings.watch_times.values()] == [900, 30, 60, 300]


def test_values_of_the_environment_are_put_in(file: Path) -> None:
    """Anywhere in a text; a default for what is not set."""
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
def test_where_people_see_the_files_of_the_repository(file: Path, section: str, files: str) -> None:
    """As GitHub has it for its API, or as the configuration says."""
    github = load(file, f"github: {section}").github
    assert github is not None
    assert github.files == files


def test_a_value_that_is_put_in_is_not_read_again(file: Path) -> None:
    """A password may look like a variable."""
    settings = load(file, "database_url: ${URL}", URL="postgresql://u:${HOME}@h/d")
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:${HOME}@h/d"


def test_mounted_secrets(file: Path) -> None:
    """`token_file` is `token` from a file beside the configuration, without the line end."""
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
    ("text", "said"),
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
            "/release-bot.yml:3: targets.staging.database_url_file: /gone cannot be read: No such file or directory",
        ),
        (
            "slack:\n  roles:\n    qa: [quinn]",
            "/release-bot.yml:3: slack.roles.qa: 'quinn' is no Slack id; copy the member id (U…) or the user group id (S…)",
        ),
        (
            "targets:\n  production: {mutable: true}",
            "/release-bot.yml:2: targets.production.mutable: checks must not change data where we deploy to",
        ),
        ("- a\n- b", "/release-bot.yml:1: the configuration is a mapping of sections such as slack: and targets:"),
        ("slack: [", "/release-bot.yml:2: not valid YAML: did not find expected node content"),
        ("slack: C1", "/release-bot.yml:1: slack: Input should be a valid dictionary or instance of Slack"),
        ("slack: &a\n  roles: *a", f"/release-bot.yml:2: not valid YAML: {REPEATS}"),
        (BOMB, f"/release-bot.yml:6: not valid YAML: {REPEATS}"),
        (f"slack: {'[' * 5000}{']' * 5000}", f"/release-bot.yml:1: not valid YAML: {REPEATS}"),
        ("slack: C\x07", "/release-bot.yml:1: not valid YAML: it has characters that YAML does not allow"),
    ],
)
def test_refused_with_file_line_and_key(file: Path, text: str, said: str) -> None:
    """So that whoever installs it finds the place."""
    assert refused(file, text) == said


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
def test_no_secret_in_an_error(file: Path, text: str) -> None:
    """Whatever is wrong around it (promise P10)."""
    assert refused(file, text).startswith("/release-bot.yml:")


def test_another_encoding_is_said(file: Path) -> None:
    """Not a traceback."""
    file.write_bytes(b"slack: \xff\xfe")
    with pytest.raises(ConfigError, match="is not in UTF-8"):
        load_settings(file, {})


def test_the_environment_wins(file: Path) -> None:
    """Over the file, and without one."""
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


def test_a_broken_section_stays_an_error_with_the_environment_set(file: Path) -> None:
    """What is not a section is refused by name, not a crash."""
    said = refused(file, "slack: C1", SLACK_CHANNEL_ID="C2", QA_IDS="U123")
    assert said.startswith("/release-bot.yml:1: slack: Input should be a valid dictionary")


def test_where_the_file_is(file: Path) -> None:
    """Named by RELEASE_BOT_CONFIG; a named one must be there."""
    file.write_text("environment: live", encoding="utf-8")
    assert load_settings(None, {"RELEASE_BOT_CONFIG": str(file)}).environment == "live"
    for path, environ in ((file.parent / "gone", {}), (None, {"RELEASE_BOT_CONFIG": "gone"})):
        with pytest.raises(ConfigError, match="gone: there is no such file"):
            load_settings(path, environ)


def test_targets_share_the_vendors_beside_them(file: Path) -> None:
    """One sentry section, for every target."""
    text = "sentry: {organization: acme}\ntargets: {staging: {mutable: true}, production: {}}"
    targets = load(file, text).target_values()
    assert [(name, target.name, target.mutable) for name, target in targets.items()] == [
        ("staging", "staging", True),
        ("production", "production", False),
    ]
    assert {target.sentry.organization for target in targets.values() if target.sentry} == {"acme"}


KEPT = """
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
def test_what_may_be_changed_is_apart(file: Path, mine: str, keys: str) -> None:
    """An address of production pasted into staging ends the start, and both keys are named; never the address."""
    one, other = keys.split()
    said = f"checks change data here, but targets.staging.{one} and targets.production.{other} lead to the same place"
    where = f"targets.staging.{one}"
    text = f"targets:\n  staging:\n    mutable: true\n    {mine}{KEPT}"
    assert refused(file, text) == f"/release-bot.yml:4: {where}: {said}: point one elsewhere"
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
def test_what_only_looks_the_same_is_taken(file: Path, mine: str) -> None:
    """One server with two databases, one cluster with two namespaces."""
    load(file, f"targets:\n  staging:\n    mutable: true\n    {mine}{KEPT}")


def test_a_secret_does_not_show_itself(file: Path) -> None:
    """Neither in repr nor in a dump, so that no log line can hold it by accident."""
    settings = load(file, "github: {token: '${TOKEN}'}", TOKEN=SECRET)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_token_counts_as_not_set(file: Path, empty: str) -> None:
    """A variable that a deployment leaves empty is no token, in the environment and in the file."""
    settings = load(
        file,
        f"slack: {{app_token: {json.dumps(empty)}}}\ndatabase_url: {json.dumps(empty)}",
        SLACK_BOT_TOKEN=empty,
        SLACK_SIGNING_SECRET=empty,
        DATABASE_URL=empty,
    )
    slack = settings.slack
    assert (slack.bot_token, slack.app_token, slack.signing_secret, settings.database_url) == (None, None, None, None)


def test_an_empty_variable_that_the_file_names_is_told(file: Path) -> None:
    """It is there, and yet it counts as not set; one with a default takes that."""
    said = refused(file, "github:\n  token: ${TOKEN}", TOKEN="")
    assert said == "/release-bot.yml:2: github.token: the environment variable TOKEN is empty, which counts as not set"
    assert load(file, "data_dir: ${DIR:-here}", DIR="").data_dir == "here"


def test_a_line_end_is_no_part_of_a_token(file: Path) -> None:
    """As it comes from a file that was written by hand."""
    token = load(file, "", SLACK_BOT_TOKEN="xoxb-1-2-abcdefgh\n").slack.bot_token
    assert token is not None
    assert token.get_secret_value() == "xoxb-1-2-abcdefgh"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "deploy.bakend: {attest: [qa]}",
            (
                "policy.lines.deploy.bakend: the checklist solvereign has no such check, section or step,"
                " did you mean 'deploy.backend'?"
            ),
        ),
        ("deploy.backend: {waive: [qa]}", "policy.lines.deploy.backend.waive: a step cannot be waived."),
    ],
)
def test_a_rule_about_a_step_that_says_nothing_is_refused(file: Path, rule: str, said: str) -> None:
    """A slip in its id, or what cannot be done with a step: else nobody would notice that the rule is not kept."""
    with pytest.raises(ConfigError) as error:
        read_policy(load(file, f"policy: {{lines: {{{rule}}}}}"), make_checklist())
    assert error.value.user_message == said
