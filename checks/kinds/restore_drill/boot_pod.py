"""The pod in which the product is started by itself, beside a Deployment and against another database: a description only.

No Service and no ReplicaSet selects it: it gets no traffic and counts for nothing. The password of the database comes from
a Secret that somebody has made there, so that it stands neither in the pod nor in the cluster's audit log, and the bot needs
no right to any Secret.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field

from checks.contract import CheckError, Params
from checks.kinds.restore_drill import ready_probe
from clients.answers import reading
from clients.target import RestorePod, require

if TYPE_CHECKING:
    from checks.contract import CheckContext
    from clients.settings import Kubernetes
    from clients.workload import Workload

Json = dict[str, Any]

NAME = "release-bot-restore-drill"  # always the same, so that a Role can be narrowed to it
LABEL = "release-bot/drill"  # which drill it belongs to
PROBE = "release-bot-probe"  # the container that asks
PASSWORD, PASSWORD_KEY = "RELEASE_BOT_RESTORE_PASSWORD", "password"  # a variable, and the key of a Secret
OF_A_SERVICE = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle")  # of a container; not needed
OF_THE_PRODUCT = ("image", "imagePullPolicy", "securityContext", "resources")  # what the probe's container shares
START = 120.0  # seconds for a node to be found, the image to be pulled and the containers to be started
LAST_WORDS = 15.0  # seconds for which the probe may be late
PATIENCE = 60  # seconds after all that, when the cluster ends the pod even if nobody takes it away


class Boot(Params):
    """How the product is started and asked."""

    database_variable: str = Field(
        default="SOLVEREIGN_DATABASE_URL", description="Variable in which the product finds its database."
    )
    path: str = Field(default="/health/ready", pattern="^/", description="Path that says whether it is ready.")
    field: str = Field(default="status", description="Field of the JSON body that says so.")
    value: str = Field(default="ready", description="Value of that field when it is ready.")
    port: int = Field(default=0, ge=0, le=65535, description="Where it listens; 0: the first port of its container.")
    python: str = Field(default="python3", description="Python in the product's image; it asks for the readiness.")
    seconds: int = Field(default=120, ge=1, description="How long it may take to become ready after its start.")


def place(ctx: CheckContext) -> Kubernetes:
    """Where the pod goes. Raises CheckError where the target has no cluster."""
    return require(ctx.target.kubernetes, ctx.target, "kubernetes")


def settings_of(ctx: CheckContext) -> RestorePod:
    """What the configuration says of the pod."""
    return ctx.target.restore_pod or RestorePod()


def describe(how: Boot, drill: str, workload: Workload, ctx: CheckContext) -> Json:
    """The product's container with the database ``drill`` of the restore server, and one of the same image that asks it.

    Raises CheckError where the Deployment or the configuration does not say enough for that.
    """
    database = _database(how.database_variable, drill, ctx)
    with reading("Kubernetes", workload.what):
        return _pod(how, drill, workload, database, ctx)


def _pod(how: Boot, drill: str, workload: Workload, database: list[Json], ctx: CheckContext) -> Json:
    part = place(ctx)
    product = next((dict(one) for one in workload.pod["containers"] if one["name"] == part.container), None)
    if product is None:
        raise CheckError(
            f"{workload.what} has no container {part.container}",
            hint=f"Set targets.{ctx.target.name}.kubernetes.container in release-bot.yml.",
        )
    port = how.port or next((int(one["containerPort"]) for one in product.get("ports") or ()), 0)
    if not port:
        raise CheckError(
            f"container {part.container} of {workload.what} names no port",
            hint="Set `port` of `boot` in the checklist.",
        )
    product = {key: value for key, value in product.items() if key not in OF_A_SERVICE}
    product["image"] = ctx.subject.image or product["image"]
    others = [one for one in product.get("env") or () if one["name"].casefold() != how.database_variable.casefold()]
    product["env"] = [*database, *others]  # first: others may refer to it
    command = [how.python, "-c", inspect.getsource(ready_probe), str(port), how.path, how.field, how.value]
    shared_fields = {key: product[key] for key in OF_THE_PRODUCT if key in product}
    probe = {"name": PROBE, "command": [_literal(word) for word in (*command, str(how.seconds))], **shared_fields}
    # Neither init containers nor sidecars: they may change the database that the Deployment has, as migrations do.
    pod_spec = {key: value for key, value in workload.pod.items() if key != "initContainers"}
    annotations = {**workload.annotations, **settings_of(ctx).annotations}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": {LABEL: drill}, "annotations": annotations},
        "spec": pod_spec
        | {
            "containers": [product, probe],
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(START + how.seconds + LAST_WORDS) + PATIENCE,
        },
    }


def _database(variable: str, drill: str, ctx: CheckContext) -> list[Json]:
    """The variables with which the product finds the database; the password is put in by the cluster."""
    settings = settings_of(ctx)
    if settings.database_url:
        setting, text = "restore_pod.database_url", settings.database_url
    else:
        setting = "restore_database_url"
        text = require(ctx.target.restore_database_url, ctx.target, setting).get_secret_value()
    url = urlsplit(text)
    login, _, server = url.netloc.rpartition("@")
    role = login.partition(":")[0]
    if not url.scheme or not role:
        raise CheckError(
            f"{setting} isn't an address such as postgresql://role@host:port/, so the product can't get one",
            hint=f"Set targets.{ctx.target.name}.restore_pod.database_url in release-bot.yml.",
        )
    entries: list[Json] = []
    password = ""
    if settings.secret:
        reference = {"secretKeyRef": {"name": settings.secret, "key": PASSWORD_KEY}}
        entries, password = [{"name": PASSWORD, "valueFrom": reference}], f":$({PASSWORD})"
    options = [pair for pair in parse_qsl(url.query) if pair[0] != "password"]  # libpq takes one there too
    rest = _literal(urlunsplit(("", "", f"/{drill}", urlencode(options, quote_via=quote), "")))
    return [*entries, {"name": variable, "value": f"{url.scheme}://{_literal(role)}{password}@{server}{rest}"}]


def _literal(text: str) -> str:
    """The text as it stands in a pod, where $(NAME) would be replaced."""
    return text.replace("$", "$$")
