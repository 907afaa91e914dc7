"""The backup CronJob and the migration Job, against an API server, with the files that the repository has."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.actions import DeployCronJob, Migrate, RestoreCronJob
from bot.domain.ids import ReleaseId
from bot.domain.plan import Mutation, Way, lasting_changes
from bot.domain.release import ReleaseState
from bot.errors import StepError, Superseded
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.slack.features.rollback import FORM
from bot.slack.payloads import ReleasePayload
from bot.steps import cronjob, migrate
from bot.steps.contract import ReleaseReference
from bot.steps.job import rights
from clients.rights import grants
from clients.settings import GitHubSettings, Kubernetes
from clients.target import Target
from sandbox.staging.github import MIGRATIONS_PATH
from sandbox.staging.versions import BRANCH, commit_sha
from tests.fix_account import BotAccount
from tests.fix_bot import QA, SOURCE, World, checklist
from tests.fix_kube import Kube, eventually, new_namespace
from tests.fix_steps import COMMIT, Notes, Repository, StepHarness
from tests.fix_vendors import Vendors

IMAGE = "ghcr.io/solvereign/api@sha256:" + "ab" * 32
CRON = DeployCronJob(do="cronjob", name="backup", manifest="k8s/backup.yaml")
RESTORE = RestoreCronJob(do="restore_cronjob")
OTHER = "kind: Other\n---\n"  # in the file of the manifest, before it
SQL = "-- migration: additive\nSELECT 1;"


def _cron(schedule: str, image: str) -> dict[str, Any]:
    container = {"name": "backup", "image": image, "env": [{"name": "BUCKET", "value": "b"}]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "backup"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": pod}}}},
    }


@pytest.fixture
def repository() -> Iterator[Repository]:
    """The repository on a server."""
    manifest = f"{OTHER}{json.dumps(_cron('30 1 * * *', 'backup:2'))}"
    with Repository("db", last={}, now={"1.sql": SQL}, others={CRON.manifest: manifest}) as running:
        yield running


@pytest.fixture
def step(kube: Kube, repository: Repository) -> StepHarness:
    """A step in a namespace with the previous CronJob."""
    kube.batch.create_namespaced_cron_job(kube.namespace, _cron("0 2 * * *", "backup:1"))
    where = Kubernetes(kubeconfig=str(kube.kubeconfig), namespace=kube.namespace)
    github = GitHubSettings.model_validate({"url": repository.url, "repository": "o/r"})
    target = Target(name="production", kubernetes=where, github=github)
    ship = ReleaseReference("v4.8.0", "4.8.0", COMMIT, IMAGE, previous="v4.7.0")
    return StepHarness(target, ship)


def cronjob_facts(kube: Kube) -> tuple[str, str, str]:
    """The schedule, the image and the variable of the CronJob."""
    spec = kube.batch.read_namespaced_cron_job("backup", kube.namespace).spec
    container = spec.job_template.spec.template.spec.containers[0]
    return spec.schedule, container.image, container.env[0].value


class TestCronJob:
    """The step for the CronJob, and its rollback."""

    def test_a_cronjob_is_deployed_and_rolled_back(self, kube: Kube, step: StepHarness) -> None:
        """Schedule and image are those of the file and the rest is unchanged; the rollback restores the exact spec."""
        changes = step.inspect(cronjob.preview, CRON)
        place = f"cronjob/backup in {kube.namespace}"
        assert changes == [
            Mutation(f"schedule of {place}", "0 2 * * *", "30 1 * * *", Way.BACK, "the rollback puts back 0 2 * * *"),
            Mutation(
                f"image of backup of {place}", "backup:1", "backup:2", Way.BACK, "the rollback puts back backup:1"
            ),
        ]
        step.rollback_target = step.inspect(cronjob.where_we_are, CRON)
        assert step.contradiction_of(cronjob.confirm, CRON) == (
            f"schedule of {place} is 0 2 * * *, not 30 1 * * *; image of backup of {place} is backup:1, not backup:2"
        )
        assert "schedule is 30 1 * * *" in step.perform(cronjob.deploy, CRON)
        assert cronjob_facts(kube) == ("30 1 * * *", "backup:2", "b")
        assert step.notes.intents() == changes
        assert step.inspect(cronjob.confirm, CRON) == f"{place} is as {CRON.manifest} has it"
        assert "is 30 1 * * *, not 0 2" in step.contradiction_of(cronjob.confirm_restore, RESTORE)
        step.notes = Notes()
        assert step.perform(cronjob.deploy, CRON).endswith("nothing to change")
        assert step.notes.lines == []
        for summary in ("as it was", "as it was"):
            assert summary in step.perform(cronjob.restore, RESTORE)
            assert summary in step.inspect(cronjob.confirm_restore, RESTORE)
            assert cronjob_facts(kube) == ("0 2 * * *", "backup:1", "b")
        assert step.notes.kinds() == ["intent", "acted"]

    def test_a_cronjob_changed_meanwhile_is_examined_again(self, kube: Kube, step: StepHarness) -> None:
        """The patch is refused because of its resource version, and the step looks again."""

        def interfere() -> None:
            step.notes.on_intent = lambda: None
            kube.batch.patch_namespaced_cron_job("backup", kube.namespace, {"spec": {"suspend": True}})

        step.notes.on_intent = interfere
        step.perform(cronjob.deploy, CRON)
        assert cronjob_facts(kube)[0] == "30 1 * * *"
        assert kube.batch.read_namespaced_cron_job("backup", kube.namespace).spec.suspend is True
        assert step.notes.kinds() == ["intent", "observed", "intent", "acted"]

    @pytest.mark.parametrize(
        ("manifest", "message"),
        [
            ("kind: CronJob\nmetadata: {name: other}", r"k8s/backup\.yaml has no CronJob backup"),
            ("kind: CronJob\nmetadata: {name: backup}", "can't be read as a CronJob: KeyError"),
            ("kind: [", "can't be read as a CronJob: ParserError"),
            (
                json.dumps(_cron("* * * * *", "b")).replace('"backup", "image"', '"dump", "image"'),
                "has no container dump",
            ),
        ],
    )
    def test_an_unfit_manifest_is_an_error(
        self, step: StepHarness, repository: Repository, manifest: str, message: str
    ) -> None:
        """The error names the file before anything is changed."""
        repository.others[CRON.manifest] = f"{OTHER}{manifest}"
        with pytest.raises(StepError, match=message):
            step.inspect(cronjob.preview, CRON)

    def test_a_missing_cronjob_is_an_error(self, step: StepHarness) -> None:
        """Without it there is nothing to roll back to."""
        with pytest.raises(StepError, match="Kubernetes failed to read cronjob/other"):
            step.inspect(cronjob.where_we_are, CRON.model_copy(update={"name": "other"}))


def job(*command: str, **behaviour: str) -> Migrate:
    """A step whose Job has one container that really runs ``command``."""
    container = {"name": "migrate", "image": "{image}", "command": [sys.executable, "-c", *command]}
    annotations = {"testbed/exec": "true", **behaviour}
    return Migrate(
        do="migrate", files="db", job={"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}
    )


SLOW = "import time; print('begun', flush=True); time.sleep(0.8)"


def interrupt(step: StepHarness, spec: Migrate) -> None:
    """Begin the step and cancel it as soon as its Job reports progress; the Job continues."""
    step.notes.on_progress = step.cancelled.set
    with pytest.raises(Superseded):
        step.perform(migrate.apply, spec)
    step.notes.on_progress = lambda: None
    step.cancelled.clear()


def jobs_of(kube: Kube) -> list[str]:
    """The Jobs of the namespace by name, each with how it ended."""
    return [
        f"{one.metadata.name.rpartition('-')[2]} "
        + "".join(entry.type for entry in one.status.conditions or [] if entry.type in {"Complete", "Failed"})
        for one in sorted(kube.batch.list_namespaced_job(kube.namespace).items, key=lambda item: item.metadata.name)
    ]


class TestMigrationJob:
    """The step for migrations by a Job of the product."""

    def test_a_job_runs_with_the_image_of_the_release(self, kube: Kube, step: StepHarness) -> None:
        """Its log is stored and its last line is the summary; after a crash it is not started again."""
        spec = job("print('applying 1.sql'); print('done')")
        (change,) = step.inspect(migrate.preview, spec)
        assert change.what == "migration 1.sql on production"
        for _ in range(2):
            assert step.perform(migrate.apply, spec).endswith("is complete: done")
        (created_job,) = kube.batch.list_namespaced_job(kube.namespace).items
        assert created_job.spec.template.spec.containers[0].image == IMAGE
        assert step.notes.intents() == [change]
        assert step.notes.kinds() == ["observed", "intent", "acted", "observed", "log", "log"]
        assert next(body["text"] for kind, body in step.notes.lines if kind == "log") == "applying 1.sql\ndone\n"

    def test_a_failed_job_is_repeated_only_by_a_retry(self, kube: Kube, step: StepHarness) -> None:
        """The last lines of its log are the error, and a crash does not start it again."""
        much = "print('applying'); print('\\n'.join(['.' * 99] * 4000)); print('no such table'); raise SystemExit(1)"
        with pytest.raises(StepError, match=r"failed: \.+ .* \| no such table"):
            step.perform(migrate.apply, job(much))
        log = next(str(body["text"]) for kind, body in step.notes.lines if kind == "log")
        assert log.startswith("applying\n....")
        assert log.endswith("...\nno such table\n")
        assert "… 137,999 bytes of the log left out …" in log
        good = job("print('well')")
        with pytest.raises(StepError, match="no such table"):
            step.perform(migrate.apply, good)
        with pytest.raises(StepError, match=r"no Job of this release is complete, and .*database_url"):
            step.inspect(migrate.confirm, good)
        assert jobs_of(kube) == ["1 Failed"]
        step.attempt = 2
        assert step.perform(migrate.apply, good).endswith("is complete: well")
        assert step.inspect(migrate.confirm, good) == "job/migrate-v4-8-0-c0ffeec0-2 is complete"
        assert jobs_of(kube) == ["1 Failed", "2 Complete"]
        second_jobs = [str(note["job"]) for note in step.notes.observations() if note.get("attempt") == 2]
        assert [name.rpartition("-")[2] for name in second_jobs] == ["2"]

    def test_a_running_job_is_taken_over(self, kube: Kube, step: StepHarness) -> None:
        """A retry starts no second Job beside it, and none before a person has seen its failure."""
        interrupt(step, job(f"{SLOW}; raise SystemExit('over')"))
        step.attempt = 2
        for _ in range(2):  # the second time as if it had been killed before anybody heard of the failure
            with pytest.raises(StepError, match="failed: begun"):
                step.perform(migrate.apply, job("print('well')"))
        assert jobs_of(kube) == ["1 Failed"]
        step.attempt = 3
        assert step.perform(migrate.apply, job("print('well')")).endswith("is complete: well")
        assert jobs_of(kube) == ["1 Failed", "2 Complete"]

    def test_a_job_that_takes_too_long_is_stopped_by_kubernetes(self, kube: Kube, step: StepHarness) -> None:
        """The error names what was last seen, since Kubernetes deletes the pod and its log."""
        spec = job("import time; print('begun', flush=True); time.sleep(60)").model_copy(update={"timeout": 1})
        with pytest.raises(StepError, match=r"was stopped before it finished, after the 1 s of this step: ") as error:
            step.perform(migrate.apply, spec, seconds=0)
        assert "before you retry or roll back" in error.value.hint
        progress_lines = [str(body["line"]) for kind, body in step.notes.lines if kind == "progress"]
        assert "is still running after the 1 s of this step: " in progress_lines[0]
        assert "begun" in error.value.user_message or not any(line.endswith("begun") for line in progress_lines)
        assert jobs_of(kube) == ["1 Failed"]
        pods = kube.core.list_namespaced_pod(kube.namespace, label_selector="job-name").items
        assert {pod.status.phase for pod in pods} <= {"Succeeded", "Failed"}

    def test_a_complete_job_is_not_run_again(self, kube: Kube, step: StepHarness) -> None:
        """It ran once, although it was cancelled, its log could not be stored, and it was deleted."""
        spec = job(f"{SLOW}; print('over')")
        interrupt(step, spec)
        eventually("its end", lambda: jobs_of(kube) == ["1 Complete"])

        def trouble() -> None:
            raise StepError("trouble")

        step.attempt, step.notes.on_log = 2, trouble
        with pytest.raises(StepError, match="trouble"):
            step.perform(migrate.apply, spec)
        step.attempt, step.notes.on_log = 3, lambda: None
        assert step.perform(migrate.apply, spec).endswith("is complete: over")
        assert jobs_of(kube) == ["1 Complete"]
        kube.batch.delete_namespaced_job(
            kube.batch.list_namespaced_job(kube.namespace).items[0].metadata.name,
            kube.namespace,
            propagation_policy="Background",
        )
        step.attempt = 4
        assert "is complete" in step.perform(migrate.apply, spec)
        assert jobs_of(kube) == []
        assert step.notes.kinds().count("intent") == 1

    def test_missing_rights_on_jobs_are_errors(self, kube: Kube, step: StepHarness, tmp_path: Path) -> None:
        """Without the right to create, no Job runs; without the right to read logs, its end still counts."""
        account, spec = BotAccount(kube, tmp_path), job("print('well')")
        needed_rights = grants(rights(), step.target)
        step.target = account.target.model_copy(update={"github": step.target.github})
        account.grant([grant for grant in needed_rights if grant.verb != "create"], needed_rights)
        with pytest.raises(StepError, match="Kubernetes refused to create job/"):
            step.perform(migrate.apply, spec)
        assert step.notes.kinds() == ["observed", "intent", "unmade", "observed"]
        account.grant([grant for grant in needed_rights if grant.resource != "pods/log"], needed_rights)
        step.attempt = 2
        assert "is complete: its log can't be read (" in step.perform(migrate.apply, spec)
        assert jobs_of(kube) == ["2 Complete"]

    def test_a_job_of_an_earlier_start_is_waited_for(self, kube: Kube, step: StepHarness) -> None:
        """A Job of an earlier release of the version does not replace this one's."""
        slow = job(f"{SLOW}; print('over')")
        interrupt(step, slow)
        step.notes = Notes()
        assert step.contradiction_of(migrate.confirm, slow).startswith(
            "job/migrate-v4-8-0-c0ffeec0-1 is still running in "
        )
        with pytest.raises(
            StepError, match=r"job/migrate-v4-8-0-c0ffeec0-1 is still running in .*, from an earlier start"
        ):
            step.perform(migrate.apply, slow)
        eventually("its end", lambda: jobs_of(kube) == ["1 Complete"])
        assert step.perform(migrate.apply, job("print('anew')")).endswith("is complete: anew")
        assert jobs_of(kube) == ["1 Complete", "2 Complete"]


class TestRollback:
    """A rollback after the step was cancelled while its Job still runs."""

    @pytest.fixture
    def cluster(self, world: World, vendors: Vendors, kube_simulator: tuple[Path, Any]) -> Iterator[Kube]:
        """The cluster in which the Job of the only deploy step runs."""
        kubeconfig, api = kube_simulator
        kube = Kube("simulator", kubeconfig, new_namespace(api), api)
        where = Kubernetes(kubeconfig=str(kubeconfig), namespace=kube.namespace)
        action = job(f"{SLOW}; print('over')").model_dump(exclude_none=True) | {"files": MIGRATIONS_PATH}
        world.change(
            checklist=checklist(
                deploy=({"id": "deploy.job", "title": "Migrate", "action": action},),
                rollback=(
                    {"id": "rollback.call", "title": "Call the customer", "action": {"do": "attest"}},
                    {"id": "rollback.health", "title": "Health", "action": {"do": "check", "kind": "ask"}},
                ),
            ),
        )
        world.on_production(kubernetes=where, **vendors.parts)
        yield kube
        kube.core.delete_namespace(kube.namespace)

    def cancel_deploy(self, world: World) -> ReleaseId:
        """Deploy a release and cancel its only step as soon as its Job has printed something."""
        release_id = world.start(source=replace(SOURCE, commit=commit_sha(BRANCH)))
        world.run("check")
        world.approve(release_id)
        world.deploy(QA, release_id)
        job_of_worker = world.claim("advance")
        assert job_of_worker is not None

        def carry_out() -> None:
            with pytest.raises(Superseded):
                world.carry_out(job_of_worker)

        thread = threading.Thread(target=carry_out)
        thread.start()
        eventually("a Job that runs", lambda: "begun" in [step.progress for step in world.view(release_id).steps])
        (running,) = world.view(release_id).steps
        world.act(step_clicks.cancel, QA, running.row)
        job_of_worker.cancelled.set()
        thread.join()
        return release_id

    def test_a_running_job_is_named_and_waited_for(self, world: World, cluster: Kube) -> None:
        """The rollback waits for the Job, and then knows what it applied and has its log."""
        release_id = self.cancel_deploy(world)
        view, name = world.view(release_id), f"job/migrate-v4-8-0-{commit_sha(BRANCH)[:8]}-1"
        assert f"{name} may still be running: it isn't stopped, and a retry picks it up." in view.steps[0].summary
        form = FORM.render("release.rollback", ReleasePayload(release=release_id), view)
        assert f":grey_question: {name}: may still be running: nobody saw its end" in str(form)
        lines = world.act(judge_rollback, QA, release_id, "").splitlines()
        assert f"{name}: may still be running: nobody saw its end. A rollback waits for it" in lines[1]
        assert "unknown whether it was done" in lines[2]
        states: list[list[str]] = []
        world.outside.during = lambda _: states.append(jobs_of(cluster))
        world.run("advance")
        call = world.view(release_id).awaited_step
        assert call is not None
        world.act(step_clicks.attest, QA, call.row, "called")
        world.run("advance")
        view = world.view(release_id)
        assert (view.release.state, states) == (ReleaseState.ROLLED_BACK, [["1 Complete"]])
        assert {change.way for change in lasting_changes(view.steps, view.checklist.deploy)} == {Way.COMPATIBLE}
        assert [bytes(row["content"]) for row in world.rows("SELECT content FROM files WHERE kind = 'step'")] == [
            b"begun\nover\n"
        ]
