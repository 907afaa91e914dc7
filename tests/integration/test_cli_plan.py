"""`release-bot plan` as a process: what it prints, as text and as JSON, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from sandbox.staging import github, vercel
from sandbox.staging.versions import BRANCH, GITHUB_REPOSITORY, commit_sha
from tests.checks.replies import Replies, Reply
from tests.fix_vendors import Vendors

CHECKLIST = """\
id: ours
title: Ours
sections: [{id: go, title: Go, gate: true, checks: [{id: go.one, title: One, kind: attest}]}]
deploy:
  - {id: deploy.tag, title: Tag it, action: {do: tag}}
  - {id: deploy.frontend, title: Deploy the frontend, action: {do: vercel_deploy}}
rollback:
  - {id: rollback.frontend, title: Frontend back, action: {do: restore_frontend}}
"""


def test_the_plan_is_printed_as_text_and_as_json(vendors: Vendors, tmp_path: Path) -> None:
    """The plan shows every change with its values, ends with 1 if one is unknown, and changes nothing."""
    digest = {"Docker-Content-Digest": "sha256:" + "ab" * 32}
    (tmp_path / "ours.yml").write_text(CHECKLIST, encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bot", "--config", str(tmp_path / "release-bot.yml"), "plan", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    with Replies({"HEAD /v2/solvereign/api/manifests/v4.8.0": Reply(200, "", digest)}) as registry:
        config = {
            "checklist": str(tmp_path / "ours.yml"),
            "targets": {"production": {}},
            "github": {"url": vendors.github_url, "token": github.TOKEN, "repository": GITHUB_REPOSITORY},
            "vercel": {
                "url": vendors.vercel_url,
                "token": vercel.TOKEN,
                "project": vercel.PROJECT,
                "team": vercel.TEAM,
            },
            "registry": {"url": registry.url, "image": "ghcr.io/solvereign/api"},
        }
        (tmp_path / "release-bot.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        process = run("v4.8.0")
        assert (process.returncode, process.stderr) == (0, "")
        lines = [line.strip() for line in process.stdout.splitlines()]
        assert f"nothing  ->  commit {commit_sha(BRANCH)}" in lines
        assert (
            f"dpl_v4.7.0, commit {commit_sha('v4.7.0')[:12]}  ->  a deployment of commit {commit_sha(BRANCH)[:12]}"
            in lines
        )
        assert "back   the rollback moves production back to dpl_v4.7.0" in lines
        vendors.faults.set("vercel_down", True)
        failure = run("v4.8.0", "--json")
        steps = json.loads(failure.stdout)
    assert failure.returncode == 1
    assert [step["step"] for step in steps] == ["deploy.tag", "deploy.frontend", "rollback.frontend"]
    assert steps[0]["changes"][0]["after"] == f"commit {commit_sha(BRANCH)}"
    assert "Vercel answered 503" in steps[1]["trouble"]
    assert vendors.posts() == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".yml") == ["ours.yml", "release-bot.yml"]
