"""The API of a cluster: how its client is built, and its errors by status."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clients.declared import NotDeclared
from clients.errors import SERVER_ERRORS, ClientError, Conflict, StrangeAnswer, first_line, retry_after, status_hint
from clients.http import CONNECT_TIMEOUT, is_loopback
from clients.needs import ClusterRight, Of
from clients.packages import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clients.declared import NeedGuard
    from clients.settings import Kubernetes

# The client of Kubernetes imports these only when they are asked for; they take a second.
KUBE_PACKAGES = (
    "kubernetes",
    *(f"kubernetes.client.api.{name}_v1_api" for name in ("core", "apps", "batch", "authorization")),
)
FIELD_MANAGER = "release-bot"
NOT_FOUND = 404
_VERBS = {"read": "get", "list": "list", "create": "create", "patch": "patch", "replace": "update", "delete": "delete"}
_CALL = re.compile(rf"(?P<verb>{'|'.join(_VERBS)})_namespaced_(?P<object>\w+)")
CONFLICT = 409


@dataclass(frozen=True)
class KubeClients:
    """The API groups that are used. Give every call ``_request_timeout=kube.timeout``: the client itself has none."""

    core: Any
    apps: Any
    batch: Any
    authorization: Any
    timeout: tuple[float, float]  # connect, read; seconds

    def bound_to(self, declared: NeedGuard) -> KubeClients:
        """The same for a user that has declared its needs: each call insists on its right."""
        if declared.needs is None:
            return self
        core, apps, batch = (
            _GuardedApi(api, group, declared)
            for group, api in (("", self.core), ("apps", self.apps), ("batch", self.batch))
        )
        authorization = _GuardedApi(self.authorization, "authorization.k8s.io", declared)
        return KubeClients(core, apps, batch, authorization, self.timeout)

    def close(self) -> None:
        """Close its connections."""
        self.core.api_client.close()

    def json(self, call: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
        """The answer to ``call`` as plain JSON, since the client's models drop fields that they do not know."""
        response = call(*args, _preload_content=False, _request_timeout=self.timeout, **options)
        try:
            return dict(json.loads(response.data))
        finally:
            response.release_conn()  # one from which nothing was read cannot be used again


class _GuardedApi:
    """One API group for a user that has declared its needs; a call is known by its name, as the client generates them."""

    def __init__(self, api: Any, group: str, declared: NeedGuard) -> None:
        self._api, self._group, self._declared = api, group, declared

    def __getattr__(self, name: str) -> Any:
        call = _CALL.fullmatch(name)
        if call is None:
            raise NotDeclared(f"{self._declared.user} isn't allowed to call {name}: no right for it can be declared")
        resource = "pods/log" if call["object"] == "pod_log" else f"{call['object'].replace('_', '')}s"
        self._declared.retry_read(ClusterRight(_VERBS[call["verb"]], self._group, resource, Of.NAMESPACE))
        return getattr(self._api, name)


def kube_clients(part: Kubernetes, name: str, timeout: float) -> KubeClients:
    """The cluster's API: by the kubeconfig of the settings, else the pod's service account, else the
    default kubeconfig. ``name``: of the target; ``timeout``: seconds for one answer. Raises ClientError without one.
    """
    load(*KUBE_PACKAGES)
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        if part.kubeconfig or part.context:
            _load_kubeconfig(part, settings)
        else:
            try:
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            except config.ConfigException:
                _load_kubeconfig(part, settings)
    except (config.ConfigException, OSError) as exc:
        raise ClientError(
            f"no usable kubeconfig for {name}: {first_line(exc)}",
            hint=f"Set targets.{name}.kubernetes.kubeconfig to a file the bot can read.",
        ) from exc
    settings.retries = False  # one try a call: a poll asks again by itself, and a person sees the real error at once
    if is_loopback(settings.host):
        settings.proxy = None
    api = client.ApiClient(configuration=settings)
    return KubeClients(
        core=client.CoreV1Api(api),
        apps=client.AppsV1Api(api),
        batch=client.BatchV1Api(api),
        authorization=client.AuthorizationV1Api(api),
        timeout=(CONNECT_TIMEOUT, timeout),
    )


def _load_kubeconfig(part: Kubernetes, settings: Any) -> None:
    from kubernetes import config

    config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=part.kubeconfig or None, context=part.context or None, client_configuration=settings
    )


@contextmanager
def kube_errors(what: str) -> Iterator[None]:
    """Translate errors of the Kubernetes client; ``what`` completes "refused to …", as "list pods in solvereign"."""
    load("kubernetes")
    import urllib3
    from kubernetes.client.exceptions import ApiException, ForbiddenException, OpenApiException

    try:
        yield
    except ApiException as exc:
        verb = "refused" if exc.status in {401, 403} else "failed"
        message = _kube_message(exc)
        hint = status_hint(exc.status or 0)
        if isinstance(exc, ForbiddenException):
            hint = f"Grant this to the bot's service account: {message}"
        failure = Conflict if exc.status == CONFLICT else ClientError
        raise failure(
            f"Kubernetes {verb} to {what}: {exc.status} {exc.reason or ''}".rstrip(),
            hint=hint,
            seen=message,
            retry_after=retry_after(exc.status or 0, exc.headers or {}),
            status=exc.status or 0,
            outcome_unknown=not exc.status or exc.status >= SERVER_ERRORS,
        ) from exc
    except OpenApiException:  # of the client itself: a request that was put wrongly
        raise
    except (TypeError, AttributeError, ValueError) as exc:  # the client cannot make its own object of the answer
        raise StrangeAnswer(
            f"cannot {what}: Kubernetes sent an unexpected answer",
            hint="Does the kubeconfig name a Kubernetes API server?",
            seen=type(exc).__name__,  # no more: its text holds values, which may be secret
            outcome_unknown=True,
        ) from exc
    except urllib3.exceptions.HTTPError as exc:
        is_refused = isinstance(exc, urllib3.exceptions.NewConnectionError)  # which urllib3 counts among the time-outs
        slow = isinstance(exc, urllib3.exceptions.TimeoutError) and not is_refused
        raise ClientError(
            f"Kubernetes didn't answer in time to {what}" if slow else f"cannot reach Kubernetes to {what}",
            hint="Is the API server up and reachable from the bot? Does the kubeconfig have its address and certificate?",
            seen=f"{type(exc).__name__}: {first_line(exc)}",
            outcome_unknown=True,
        ) from exc


def _kube_message(exc: Any) -> str:
    try:
        return str(json.loads(exc.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(exc.body or exc.reason or "")
