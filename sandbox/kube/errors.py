"""The errors of the simulated API server, in the words and codes of kube-apiserver.

Each one is a `StatusError`, whose `status()` is the body that a client gets: the Status object of the Kubernetes API
conventions.
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.resources import Resource

Json = dict[str, Any]


class StatusError(Exception):
    """A request that fails: HTTP code, machine-readable reason, message, and details of the object meant."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> Json:
        """The Status object that says so."""
        body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body |= {"message": self.message, "reason": self.reason}
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


def unauthorized() -> StatusError:
    """No bearer token, or not ours."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def no_such_path() -> StatusError:
    """A path that names no resource of this server."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> StatusError:
    """A verb that the resource does not have."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_found(resource: Resource, name: str) -> StatusError:
    """The object is not there."""
    return StatusError(404, "NotFound", f'{resource.full_name} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str) -> StatusError:
    """A create for a name that is taken."""
    return StatusError(409, "AlreadyExists", f'{resource.full_name} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str) -> StatusError:
    """The writer saw an older version of the object."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {why}'
    return StatusError(409, "Conflict", text, _details(resource, name))


def terminating(namespace: str, resource: Resource) -> StatusError:
    """A create in a namespace that is going away."""
    why = f"because it is being terminated: unable to create new content in namespace {namespace}"
    return StatusError(403, "Forbidden", f"{resource.full_name} is forbidden: {why}", _details(resource, ""))


def forbidden(resource: Resource, name: str, message: str) -> StatusError:
    """A request that no Role grants to the account."""
    return StatusError(403, "Forbidden", message, _details(resource, name))


def bad_request(message: str) -> StatusError:
    """A request that cannot be understood, a log that cannot be shown, or what the simulator does not know."""
    return StatusError(400, "BadRequest", message)


def unsupported_media_type() -> StatusError:
    """A body in a format that this server does not read (protobuf, YAML)."""
    text = "the body of the request was in an unknown format - accepted media types include: application/json"
    return StatusError(415, "UnsupportedMediaType", text, {})


def patch_refused() -> StatusError:
    """A JSON patch that does not apply, a failed `test` among them: kube-apiserver answers 422, not 409."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def invalid(resource: Resource, name: str, causes: list[tuple[str, str, str]]) -> StatusError:
    """An object that breaks a rule; `causes` are (field, reason, message)."""
    texts = [f"{field}: {message}" for field, _, message in causes]
    what = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details: Json = {"name": name} | ({"group": resource.group} if resource.group else {}) | {"kind": resource.kind}
    details["causes"] = [{"reason": reason, "message": text, "field": field} for field, reason, text in causes]
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {what}', details)


def _details(resource: Resource, name: str) -> Json:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}
