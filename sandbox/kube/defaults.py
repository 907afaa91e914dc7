"""What the API server adds to an object that a client sent, and what it refuses.

Only the fields that a Deployment, a Job or a CronJob of an ordinary product uses. Values are those that kube-apiserver
1.20 to 1.32 fills in. What the controllers here would leave out of account is refused, although a real server takes it: nobody should
believe that it was tried.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from sandbox.kube.errors import invalid
from sandbox.kube.resources import CONFIGMAPS, CRONJOBS, DEPLOYMENTS, JOBS, PODS, REPLICASETS, SECRETS, Resource

Json = dict[str, Any]
Causes = list[tuple[str, str, str]]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
JOB_NAME_LIMIT = 63  # the name becomes a label of its pods
CRONJOB_NAME_LIMIT = 52  # eleven characters are appended for each Job


def normalize(resource: Resource, obj: Json) -> Json:
    """The object as the server stores it: empty values dropped, defaults filled in. `obj` itself is left alone."""
    result: Json = _without_empty(obj)
    result |= {"apiVersion": resource.group_version, "kind": resource.kind}
    spec = result.get("spec")
    if resource is SECRETS:
        _encode_string_data(result)
    elif not isinstance(spec, dict):
        return result
    elif resource is DEPLOYMENTS:
        _default_deployment(spec)
    elif resource is REPLICASETS:
        spec.setdefault("replicas", 1)
        _default_pod_template(spec)
    elif resource is PODS:
        _default_pod_spec(spec)
    elif resource is JOBS:
        _default_job(spec)
    elif resource is CRONJOBS:
        for key, value in _CRONJOB_DEFAULTS.items():
            spec.setdefault(key, value)
        _default_job(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))
    return result


def label_job(job: Json) -> None:
    """Give a new Job the selector and the labels by which its pods are found; its uid must be set."""
    meta, spec = job["metadata"], job["spec"]
    labels = {"controller-uid": meta["uid"], "job-name": meta["name"]}
    meta["labels"] = {**(meta.get("labels") or {}), **labels}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **labels}
    spec["selector"] = {"matchLabels": {"controller-uid": meta["uid"]}}


def check(resource: Resource, new: Json, old: Json | None) -> None:
    """Refuse an object that breaks a rule of its kind (StatusError 422); `old` is what it would replace."""
    name = new["metadata"].get("name", "")
    causes: Causes = []
    if not _SUBDOMAIN.fullmatch(name):
        causes.append(("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {_NAME_RULE}'))
    limit = {JOBS: JOB_NAME_LIMIT, CRONJOBS: CRONJOB_NAME_LIMIT}.get(resource)
    if limit and len(name) > limit:
        text = f'Invalid value: "{name}": must be no more than {limit} characters'
        causes.append(("metadata.name", "FieldValueTooLong", text))
    causes += _SPEC_RULES[resource](new, old) if resource in _SPEC_RULES else []
    if resource in (CONFIGMAPS, SECRETS):
        causes += [
            (f"data[{key}]", "FieldValueInvalid", "Invalid value: must be a string")
            for key, value in (new.get("data") or {}).items()
            if not isinstance(value, str)
        ]
    if causes:
        raise invalid(resource, name, causes)


def _without_empty(value: Any) -> Any:
    """Drop what Go's `omitempty` never writes: nulls, empty lists, empty maps of labels, and empty `value` of env."""
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    maps = ("labels", "annotations", "matchLabels")
    return {
        key: item
        for key, item in ((key, _without_empty(item)) for key, item in value.items())
        if not (item is None or item == [] or (item == {} and key in maps) or (item == "" and key == "value"))
    }


def _encode_string_data(secret: Json) -> None:
    plain = secret.pop("stringData", None) or {}
    data = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    if data:
        secret["data"] = (secret.get("data") or {}) | data
    secret.setdefault("type", "Opaque")


def _default_deployment(spec: Json) -> None:
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    _default_pod_template(spec)


def _default_job(spec: Json) -> None:
    for key, value in (("parallelism", 1), ("completions", 1), ("backoffLimit", 6)):
        spec.setdefault(key, value)
    _default_pod_template(spec)


def _default_pod_template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).pop("creationTimestamp", None)
    _default_pod_spec(template.setdefault("spec", {}))


def _default_pod_spec(spec: Json) -> None:
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        image = str(container.get("image", ""))
        moving = "@" not in image and (image.endswith(":latest") or ":" not in image.rpartition("/")[2])
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "Always" if moving else "IfNotPresent")
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")
        for item in container.get("env") or []:
            if field := (item.get("valueFrom") or {}).get("fieldRef"):
                field.setdefault("apiVersion", "v1")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")


_CRONJOB_DEFAULTS = {
    "concurrencyPolicy": "Allow",
    "suspend": False,
    "successfulJobsHistoryLimit": 3,
    "failedJobsHistoryLimit": 1,
}


def _check_deployment(new: Json, old: Json | None) -> Causes:
    spec = new.get("spec") or {}
    template = spec.get("template") or {}
    selector, labels = spec.get("selector") or {}, (template.get("metadata") or {}).get("labels") or {}
    causes = _refuse(spec, "spec", "minReadySeconds") + _refuse(selector, "spec.selector", "matchExpressions")
    if not selector:
        causes.append(("spec.selector", "FieldValueRequired", "Required value"))
    elif not (selector.get("matchLabels") or {}).items() <= labels.items():
        text = f"Invalid value: {labels}: `selector` does not match template `labels`"
        causes.append(("spec.template.metadata.labels", "FieldValueInvalid", text))
    if old and selector != old["spec"].get("selector"):
        causes.append(("spec.selector", "FieldValueInvalid", f"Invalid value: {selector}: field is immutable"))
    replicas = spec.get("replicas")
    if not isinstance(replicas, int) or replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        causes.append(("spec.replicas", "FieldValueInvalid", text))
    causes += _check_value(spec["strategy"]["type"], "RollingUpdate", "spec.strategy.type")
    pod = template.get("spec") or {}
    causes += _check_value(pod.get("restartPolicy"), "Always", "spec.template.spec.restartPolicy")
    return causes + _check_pod_spec(pod, "spec.template.spec")


def _check_job(new: Json, old: Json | None) -> Causes:
    spec = new.get("spec") or {}
    if old and (spec.get("template") or {}).get("spec") != old["spec"]["template"]["spec"]:
        return [("spec.template", "FieldValueInvalid", "Invalid value: field is immutable")]
    return _check_job_spec(spec, "spec")


def _check_cronjob(new: Json, _old: Json | None) -> Causes:
    spec = new.get("spec") or {}
    causes: Causes = []
    if len(str(spec.get("schedule", "")).split()) != 5:
        causes.append(("spec.schedule", "FieldValueInvalid", f'Invalid value: "{spec.get("schedule", "")}"'))
    return causes + _check_job_spec(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def _check_job_spec(spec: Json, where: str) -> Causes:
    pod = (spec.get("template") or {}).get("spec") or {}
    causes = _refuse(spec, where, "suspend", "ttlSecondsAfterFinished")
    for field in ("parallelism", "completions"):
        causes += _check_value(spec[field], 1, f"{where}.{field}")
    causes += _check_value(pod.get("restartPolicy"), "Never", f"{where}.template.spec.restartPolicy")
    return causes + _check_pod_spec(pod, f"{where}.template.spec")


def _check_pod(new: Json, _old: Json | None) -> Causes:
    return _check_pod_spec(new.get("spec") or {}, "spec")


def _check_value(value: Any, only: Any, where: str) -> Causes:
    text = f'Unsupported value: "{value}": supported values: "{only}"'
    return [] if value == only else [(where, "FieldValueNotSupported", text)]


def _refuse(spec: Json, where: str, *fields: str) -> Causes:
    text = "Forbidden: the simulated cluster does not know it"
    return [(f"{where}.{field}", "FieldValueForbidden", text) for field in fields if spec.get(field)]


def _check_pod_spec(spec: Json, where: str) -> Causes:
    containers = spec.get("containers") or []
    if not containers:
        return [(f"{where}.containers", "FieldValueRequired", "Required value")]
    causes: Causes = []
    names: set[str] = set()
    for number, container in enumerate(containers):
        at, name = f"{where}.containers[{number}]", str(container.get("name", ""))
        if not name:
            causes.append((f"{at}.name", "FieldValueRequired", "Required value"))
        elif not _LABEL.fullmatch(name):
            causes.append((f"{at}.name", "FieldValueInvalid", f'Invalid value: "{name}"'))
        elif name in names:
            causes.append((f"{at}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        names.add(name)
        if not container.get("image"):
            causes.append((f"{at}.image", "FieldValueRequired", "Required value"))
    return causes


_SPEC_RULES = {
    DEPLOYMENTS: _check_deployment,
    PODS: _check_pod,
    JOBS: _check_job,
    CRONJOBS: _check_cronjob,
}
