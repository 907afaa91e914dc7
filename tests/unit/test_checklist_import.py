"""Making a checklist of somebody's template: every line is there, what the text shows is asked, odd ones are told apart."""

import re
from pathlib import Path

import pytest

from bot.checklists.read import read_checklist
from bot.cli import main
from bot.domain.checklist import Check, Checklist
from bot.errors import ChecklistError
from bot.importer.write import import_template
from checks.registry import Registry

TEMPLATE = Path(__file__).parents[1] / "contract" / "release-checklist.md"
REGISTRY = Registry.load()


def import_checklist(text: str, source: str = "template.md") -> Checklist:
    """The checklist that is imported from a template; the bot accepts it with all kinds and parameters."""
    return read_checklist(import_template(text, source).yaml, "made.yml", REGISTRY)


def by_title(checklist: Checklist) -> dict[str, Check]:
    """The checks of a checklist by title."""
    return {check.title: check for check in checklist.checks}


@pytest.fixture(scope="module")
def ours() -> Checklist:
    """The release template of the product, imported."""
    return import_checklist(TEMPLATE.read_text(encoding="utf-8"))


def test_every_line_of_the_template_is_imported(ours: Checklist) -> None:
    """Each box, each row of the Go/No-Go table and each line of the rollback plan is imported, except signatures."""
    boxes = len(re.findall(r"^\s*(?:-|\d\.) \[ \]", TEMPLATE.read_text(encoding="utf-8"), re.MULTILINE))
    signs, rows = 3, 10
    assert len(ours.checks) + len(ours.deploy) == boxes - signs + rows
    assert ours.rollback[0].title == "Backend: kubectl rollout undo deployment/api"
    assert (len(ours.deploy), len(ours.rollback)) == (8, 4)
    assert [check.title for check in ours.gate_checks][:2] == ["Migrations applied", "App boots clean"]
    assert len(ours.gate_checks) == rows
    assert [section.id for section in ours.sections if section.phase == "after"] == [
        "post_deployment_verification", "post_release_tasks",
    ]  # fmt: skip
    migrations = ours.section("migrations")
    assert migrations is not None
    assert migrations.runbook == "Section A: Database Migrations"


def test_lines_that_the_bot_can_check_become_checks(ours: Checklist) -> None:
    """A verify function, logs, paths and variables in the text become checks; table columns keep their words."""
    lines = by_title(ours)
    hardening = lines["SELECT * FROM verify_final_hardening() - All 17 checks PASS"]
    assert (hardening.kind, hardening.params) == ("sql_verify", {"function": "verify_final_hardening", "rows": [17]})
    assert lines["App boots clean"].kind == "pod_logs"
    assert (lines["App boots clean"].action, lines["App boots clean"].expected) == (
        "kubectl logs deployment/api",
        "No errors",
    )
    pages = lines["Legal pages accessible (/legal/terms, /legal/privacy, /legal/imprint)"]
    assert [page["path"] for page in pages.params["pages"]] == ["/legal/terms", "/legal/privacy", "/legal/imprint"]
    dsn, billing = lines["SOLVEREIGN_SENTRY_DSN"], lines["SOLVEREIGN_BILLING_ENFORCEMENT=on (not off!)"]
    assert (dsn.kind, dsn.target, dsn.params) == (
        "workload_env",
        "production",
        {"variables": ["SOLVEREIGN_SENTRY_DSN"]},
    )
    assert billing.params == {"plain": {"SOLVEREIGN_BILLING_ENFORCEMENT": ["on"]}}
    assert lines["Sentry test error visible in dashboard"].kind == "attest"


def test_checks_that_change_something_are_only_proposed() -> None:
    """A kind that changes something is proposed in a comment, for a person to enable."""
    text = import_template(
        "- [ ] Test (`stripe trigger invoice.paid`) 3x\n- [ ] Dump is in `s3://backups/pg`\n", "t.md"
    ).yaml
    assert (
        'suggestion: kind: stripe_webhook, params: {"event": "invoice.paid", "deliveries": 3} (it sends a test event'
        in text
    )
    assert "suggestion: kind: backup_job (it runs the backup CronJob" in text
    assert {check.kind for check in read_checklist(text, "t.yml", REGISTRY).checks} == {"attest"}


@pytest.mark.parametrize(
    ("line", "is_proposed"),
    [
        ("| 7 | Backup runs | Manual trigger | S3 file created |", True),
        ("| 7 | Backup runs | Manual trigger | An S3 backup is there |", True),
        ("| 7 | Backups are in S3 | Look | Newer than a day |", True),
        ("| 7 | Backup runs | Manual trigger | A file is created |", False),
        ("| 7 | Pictures load from S3 | Open the page | They show |", False),
    ],
)
def test_a_backup_in_s3_is_recognised_without_an_address(line: str, is_proposed: bool) -> None:
    """The kind backup_job is proposed for the usual descriptions of a backup in S3."""
    head = "## Go/No-Go Decision\n\n| # | Check | Command/Action | Expected |\n|---|---|---|---|\n"
    text = import_template(f"{head}{line}\n", "t.md").yaml
    assert ("suggestion: kind: backup_job (it runs the backup CronJob" in text) is is_proposed
    assert {check.kind for check in read_checklist(text, "t.yml", REGISTRY).checks} == {"attest"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Look at `/healthz`", "http_json"),
        ("Open `/` and `/about`", "http_pages"),
        ("`DATABASE_URL` is set", "workload_env"),
        ("`SELECT * FROM audit.verify_trail ( )` is good", "sql_verify"),
        ("Run `kubectl -n shop logs -l app=web`", "pod_logs"),
        ("`SELECT * FROM orders`", "attest"),
        ("Set `timeout` to 5", "attest"),
        ("Read TODO_LIST and /etc/motd", "attest"),
    ],
)
def test_only_code_in_the_text_becomes_a_check(text: str, kind: str) -> None:
    """A kind is chosen by what is set as code, and not by words that merely look like it."""
    (check,) = import_checklist(f"- [ ] {text}\n").checks
    assert check.kind == kind


def test_an_unusual_template_is_read() -> None:
    """Windows line ends, a byte order mark, ticked and nested boxes, quotes, duplicates and Japanese are read."""
    text = '\ufeff# My "list": v2 #\r\n\r\n* [x] Same: thing\r\n  + [ ] Same: thing\r\n    1. [ ] 日本語\r\n'
    text += "- [ ] # 100 % {ok} 'x' \"y\" \\ é\r\n"
    checklist = import_checklist(text + f"- [ ] {'long ' * 60}\r\n- [ ]\r\n> - [ ] quoted\r\n")
    assert checklist.title == 'My "list": v2'
    assert [check.title for check in checklist.checks][:4] == [
        "Same: thing",
        "Same: thing",
        "日本語",
        "# 100 % {ok} 'x' \"y\" \\ é",
    ]
    assert [check.id for check in checklist.checks][:3] == [
        "my_list_v2.same_thing", "my_list_v2.same_thing_2", "my_list_v2.line",
    ]  # fmt: skip
    assert len(checklist.checks[4].title) == 150
    assert checklist.checks[5].title == "quoted"
    assert [step.id for step in (*checklist.deploy, *checklist.rollback)] == ["deploy.by_hand", "rollback.by_hand"]


def test_boxes_in_code_and_comments_are_ignored() -> None:
    """Boxes in a fenced example or in a comment are not imported."""
    text = "<!--\n- [ ] hidden\n-->\n```\n- [ ] example\n```\n- [ ] real\n~~~md\n- [ ] open to the end\n"
    assert [check.title for check in import_checklist(text).checks] == ["real"]


def test_a_table_alone_is_enough() -> None:
    """A table of checks becomes the gate, and any other table is ignored."""
    text = (
        "| a | b |\n|---|---|\n| x | y |\n\n## Gate\n\n"
        "| # | Item | Expected result |\n|--|:-:|--|\n| 1 | **Load** test \\| soak | p99 < 1 s |\n"
    )
    (check,) = import_checklist(text).gate_checks
    assert (check.title, check.expected) == ("Load test | soak", "p99 < 1 s")


def test_steps_alone_get_a_placeholder_for_the_gate() -> None:
    """A template with steps only gets one check for the gate, which the team has to fill in."""
    text = "## Deployment steps\n1. [ ] Push\n2. [ ] Pull\n## Rollback\n- [ ] Pull back\n"
    checklist = import_checklist(text)
    assert [check.id for check in checklist.gate_checks] == ["go.ready"]
    assert [step.title for step in checklist.deploy] == ["Push", "Pull"]
    assert [step.title for step in checklist.rollback] == ["Pull back"]


def test_a_github_issue_form_is_read() -> None:
    """The checkboxes of a GitHub issue form in YAML are imported."""
    text = (
        "name: Release\nbody:\n  - type: markdown\n    attributes: {value: '## Before'}\n  - type: input\n    attributes: {label: v}\n"
        "  - type: checkboxes\n    attributes:\n      label: Go or No-Go\n      options:\n        - label: Healthy (`/health`)\n"
    )
    checklist = import_checklist(text, "release.yml")
    assert checklist.title == "Release"
    assert [(check.id, check.kind) for check in checklist.gate_checks] == [("go.healthy_health", "http_json")]


GATE, BEFORE, AFTER = "decides Go or No-Go", "before the deploy", "after the deploy"
DEPLOY, ROLLBACK, SIGNATURES = "steps of the deploy", "steps of the rollback", "sign-offs: policy in release-bot.yml"
UNDERLINE_HEADINGS = """Web shop release
================
Prose over
two lines
---
Pre-deployment steps
--------------------
* [ ] Database backup taken
* [x] Tests green

Post-deployment steps
---------------------
### Monitoring
- [ ] Watch dashboards for 15 minutes
## Loan approvals service
- [ ] Loan approvals work on staging
## Approvals
- [ ] QA: @ann
- [ ] Approved by Legal
- [ ] Security report attached
"""
BOXES = """# Release <!-- - [ ] hidden -->
Mark `[ ]` as `[x]`; see [x](http://x) and arr[].

1. Prepare
   - [ ] one
   - [] two
     1) [ ] three
a. [ ] four
-[ ] five
☐ six
- ☐ seven
- [ ]eight
> - [ ] nine
**Backend:** [ ] ten [ ] eleven
<li><input type="checkbox"> twelve</li>
thirteen? [ ]

```yaml
# <!-- no comment
- [ ] fenced
```
- [ ]
| [ ] fourteen |
<!--
- [ ] hidden
"""
TABLES = """# Deployment checklist
## 1. Before you begin
Task | Owner | Done
--- | --- | ---
Backup taken | ann | [ ]

| Owner | What | Staging | Production |
|---|---|---|---|
| ann | Config applied | [ ] | [ ] |
## 2. Deploy to staging
- [ ] Staging is up
## 3. 🚀 Deployment
### Backend
1. [ ] kubectl apply
## 4. Rollback readiness
- [ ] Plan written
## 5. If things go wrong: roll back
1. kubectl rollout undo

<details><summary>After the release</summary>

- [ ] Close the milestone
</details>
"""
FORM = """name: Release
body:
  - {type: markdown, attributes: {value: "## Post-deployment"}}
  - {type: checkboxes, attributes: {label: Monitoring, options: [{label: Quiet, required: true}]}}
  - {type: markdown, attributes: {value: "## Pre-deployment"}}
  - {type: textarea, attributes: {label: Rollback plan, value: "- [ ] Written\\n- [ ] Tried"}}
"""
ALL_AFTER = "# Post-release checklist\n## Docs\n- [ ] Wiki\n## Sign-off\n### Who\n- [ ] QA\n- [ ] Ann Lee: ____\n"
MORE = "<h2>Before</h2>\n### Deployment plan\n- [ ] Read\n## During the deploy\n- [ ] Push\n### Go / No-Go\n- [ ] Go\n"


@pytest.mark.parametrize(
    ("source", "text", "where", "skip_counts"),
    [
        (
            "t.md",
            UNDERLINE_HEADINGS,
            [
                ("Pre-deployment steps", 2, GATE),
                ("Monitoring", 1, AFTER),
                ("Loan approvals service", 1, GATE),
                ("Approvals", 1, GATE),
                ("Approvals", 2, SIGNATURES),
            ],
            (0, 0),
        ),
        ("t.md", BOXES, [("Release", 14, GATE)], (3, 1)),
        (
            "t.md",
            TABLES,
            [
                ("1. Before you begin", 3, GATE),
                ("2. Deploy to staging", 1, GATE),
                ("4. Rollback readiness", 1, GATE),
                ("After the release", 1, AFTER),
                ("Backend", 1, DEPLOY),
                ("5. If things go wrong: roll back", 1, ROLLBACK),
            ],
            (0, 0),
        ),
        ("t.yml", FORM, [("Monitoring", 1, AFTER), ("Rollback plan", 2, GATE)], (0, 0)),
        ("t.md", ALL_AFTER, [("Docs", 1, AFTER), ("Who", 2, SIGNATURES)], (0, 0)),
        (
            "t.md",
            MORE,
            [("Deployment plan", 1, BEFORE), ("Go / No-Go", 1, GATE), ("During the deploy", 1, DEPLOY)],
            (0, 0),
        ),
    ],
    ids=["underlined", "boxes", "tables", "form", "all after", "more"],
)
def test_every_box_is_imported_or_counted_as_skipped(
    source: str, text: str, where: list[tuple[str, int, str]], skip_counts: tuple[int, int]
) -> None:
    """Every box is imported into a fitting place or counted as skipped, whatever the template looks like."""
    result = import_template(text, source)
    assert list(result.places) == where
    assert (result.hidden_boxes, result.empty_boxes) == skip_counts
    checklist = import_checklist(text, source)
    signature_count = sum(number for _, number, place in where if place == SIGNATURES)
    steps = [step for step in (*checklist.deploy, *checklist.rollback) if not step.id.endswith(".by_hand")]
    checks = [check for check in checklist.checks if check.id != "go.ready"]
    assert len(checks) + len(steps) + signature_count == result.lines
    assert checklist.gate_checks


def test_the_title_of_a_box_is_the_text_beside_it() -> None:
    """A line is named by the text behind its box, or by the text before it if there is none."""
    titles = [check.title for check in import_checklist(BOXES).checks]
    assert titles == [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen?", "fourteen",
    ]  # fmt: skip
    assert list(by_title(import_checklist(TABLES)))[:3] == [
        "Backup taken",
        "Config applied: Staging",
        "Config applied: Production",
    ]


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("t.md", "", "t.md: it has no boxes to tick."),
        ("t.md", "# Title\n\n- no box\n1. none either\n\n| A | B |\n|---|---|\n| 1 | 2 |\n", "t.md: it has no boxes to tick."),
        ("t.yml", "name: x\n", "t.yml: this isn't a GitHub issue form: it has no body."),
        ("t.yml", "name: [\n", "t.yml: not valid YAML: "),
        ("t.yml", "body: [{type: input}, 5, {type: checkboxes, attributes: {options: [7]}}]\n", "t.yml: it has no boxes to tick"),
    ],
)  # fmt: skip
def test_a_template_without_boxes_is_an_error(source: str, text: str, message: str) -> None:
    """A template without boxes is rejected with a clear message instead of an empty checklist."""
    with pytest.raises(ChecklistError) as error:
        import_template(text, source)
    assert error.value.user_message.startswith(message)


def test_import_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The written file passes the lint, an existing file is not overwritten, and a missing template is a clear error."""
    file = tmp_path / "ours.yml"
    assert main(["checklist", "import", str(TEMPLATE), "-o", str(file)]) == 0
    assert (
        capsys.readouterr().err
        == """56 lines of release-checklist.md, and where they went:
  Migrations: 5, before the deploy
  Staging Verification: 9, before the deploy
  Environment Configuration: 9, before the deploy
  Go/No-Go Decision: 10, decides Go or No-Go
  Post-Deployment Verification: 5, after the deploy
  Post-Release Tasks: 3, after the deploy
  Deployment Steps: 8, steps of the deploy
  Rollback Plan: 4, steps of the rollback
  Sign-Off: 3, sign-offs: policy in release-bot.yml
41 checks: 14 are run by the bot, 27 by people; 3 of these have a suggestion in a comment.
"""
    )
    odd = tmp_path / "odd.md"
    odd.write_text(BOXES, encoding="utf-8")
    assert main(["checklist", "import", str(odd)]) == 0
    assert (
        "  3 boxes are skipped: in comments or code.\n  1 box is skipped: with no words.\n" in capsys.readouterr().err
    )
    assert main(["checklist", "lint", str(file)]) == 0
    yaml = file.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["checklist", "import", str(TEMPLATE), "-o", str(file)]) == 2
    assert capsys.readouterr().err == f"release-bot: {file} already exists.\n  Name a new file.\n"
    assert main(["checklist", "import", str(TEMPLATE)]) == 0
    assert capsys.readouterr().out == yaml
    assert main(["checklist", "import", str(tmp_path / "none.md")]) == 2
    assert "none.md: can't be read: No such file or directory." in capsys.readouterr().err
