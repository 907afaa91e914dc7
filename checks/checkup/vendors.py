"""Checkup of Sentry, Grafana, Stripe and the bucket: is the token taken, and does it have the rights that are needed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.answers import listed, reading
from checks.checkup.finding import (
    FORBIDDEN,
    NOT_FOUND,
    PATIENCE,
    REFUSED,
    Finding,
    Needs,
    State,
    lines_of,
    rights_in,
    trouble,
)
from checks.clients import Clients, http_errors, require, s3_errors, stripe_errors
from checks.contract import CheckError

if TYPE_CHECKING:
    import httpx

    from checks.target import Target

NOT_ACCEPTABLE = 406  # Grafana: a dashboard of the second schema, which it has and shows elsewhere


def sentry(target: Target, needs: Needs) -> list[Finding]:
    """Sentry does not tell a token's scopes, so each is tried by a call that takes just it (docs.sentry.io/api/permissions)."""
    part = require(target.sentry, target, "sentry")
    organization, project = f"organizations/{part.organization}/", f"projects/{part.organization}/{part.project}/"
    calls: dict[str, tuple[str, dict[str, str]]] = {
        "org:read": (organization, {}),
        "project:read": (project, {}),
        "event:read": (f"{organization}issues/", {"project": part.project, "limit": "1", "query": ""}),
    }
    findings = []
    with Clients(target, http_timeout=PATIENCE) as clients:
        client = clients.sentry()
        for scope in rights_in(needs):
            lines = lines_of(needs, scope)
            if scope not in calls:
                findings.append(_untold("Sentry", scope, lines))
                continue
            path, query = calls[scope]
            try:
                body = _get(client, path, query, "read Sentry")
                with reading("Sentry", "issues" if scope == "event:read" else path.partition("s/")[0]):
                    _ = listed(body) if scope == "event:read" else body["slug"]
            except CheckError as error:
                hints = {
                    REFUSED: "Set sentry.token to the token of an internal integration.",
                    FORBIDDEN: f"Give the integration the scope {scope}, or the project {part.project}.",
                    NOT_FOUND: "Check sentry.organization and sentry.project: the token sees nothing of these names.",
                }
                if error.status == FORBIDDEN:
                    what = f"the token lacks {scope} for {part.organization}/{part.project}"
                    findings.append(Finding(State.MISSING, what, hints[FORBIDDEN], lines=lines))
                    continue
                everything = lines_of(needs)
                return [*findings, trouble(error, everything, hint=hints.get(error.status, ""))]
    return findings or [Finding(State.OK, f"takes the token, which has {', '.join(rights_in(needs))}")]


def grafana(target: Target, needs: Needs) -> list[Finding]:
    """Grafana lists what a token may do (grafana.com/docs, service accounts: list a token's permissions)."""
    findings = []
    with Clients(target, http_timeout=PATIENCE) as clients:
        client = clients.grafana()
        try:
            granted = _get(client, "api/access-control/user/permissions", {}, "read Grafana")
            with reading("Grafana", "the token's permissions"):
                granted = dict(granted)
        except CheckError as error:
            if error.status != NOT_FOUND:
                hint = "Set grafana.token to that of a service account with the role Viewer."
                return [trouble(error, lines_of(needs), hint=hint)]
            what = "is older than 8.5 and does not tell what a token may do: the first check shows it"
            return [Finding(State.NOTE, what, lines=lines_of(needs))]
        for action in rights_in(needs):
            if action not in granted:
                hint = "Give the service account the role Viewer, or this action."
                findings.append(
                    Finding(State.MISSING, f"the token lacks {action}", hint, lines=lines_of(needs, action))
                )
        for use, lines in needs.items():
            if use.on and use.right in granted:
                findings += _dashboard(client, use.on, lines)
    return findings or [Finding(State.OK, f"takes the token, which has {', '.join(rights_in(needs))}")]


def _dashboard(client: httpx.Client, uid: str, lines: tuple[str, ...]) -> list[Finding]:
    try:
        body = _get(client, f"api/dashboards/uid/{uid}", {}, f"open the dashboard {uid}")
        with reading("Grafana", f"the dashboard {uid}"):
            _ = body["dashboard"]
    except CheckError as error:
        if error.status == NOT_ACCEPTABLE:
            return []
        hint = "Check its uid in the checklist, and that the service account may see its folder."
        return [trouble(error, lines, hint=hint)]
    return []


def stripe(target: Target, needs: Needs) -> list[Finding]:
    """Stripe does not tell a key's rights, so they are tried; its mode shows in how it begins (docs.stripe.com/keys)."""
    part = require(target.stripe, target, "stripe")
    key = f"targets.{target.name}.stripe.api_key"
    mode = "live mode" if part.live else "test mode"
    for right in ("live mode", "test mode"):
        if (lines := lines_of(needs, right)) and right != mode:
            hint = f"Set {key} to a restricted key of {right} that may read webhook endpoints."
            return [
                Finding(State.MISSING, f"the key is of {mode}: it does not see what is of {right}", hint, lines=lines)
            ]
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            with stripe_errors("read the webhook endpoints"), reading("Stripe", "a list of webhook endpoints"):
                _ = [one.id for one in clients.stripe().v1.webhook_endpoints.list({"limit": 1}).data]
        except CheckError as error:
            hint = f"Set {key} to a key that Stripe knows."
            if error.status == FORBIDDEN:
                hint = "Give the restricted key the right to read webhook endpoints."
            return [trouble(error, lines_of(needs), hint=hint)]
    return [Finding(State.OK, f"takes the key of {mode}, which may read webhook endpoints")]


def bucket(target: Target, needs: Needs) -> list[Finding]:
    """The bucket under its prefix: what needs listing is listed, what needs reading is read at its head."""
    part = require(target.backup, target, "backup")
    where = f"s3://{part.bucket}/{part.prefix}"
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            with s3_errors(f"list {where}"):
                found = clients.s3().list_objects_v2(Bucket=part.bucket, Prefix=part.prefix, MaxKeys=1)
        except CheckError as error:
            return [trouble(error, lines_of(needs), hint=_bucket_hint(error, "s3:ListBucket", where))]
        keys = [str(item["Key"]) for item in found.get("Contents", [])]
        if not (lines := lines_of(needs, "s3:GetObject")):
            return [Finding(State.OK, f"lists {where}")]
        if not keys:
            hint = "Whether the bot may read a backup shows once there is one."
            return [Finding(State.NOTE, f"lists {where}, where nothing is yet", hint, lines=lines)]
        try:
            with s3_errors(f"read {keys[0]} in s3://{part.bucket}"):
                clients.s3().head_object(Bucket=part.bucket, Key=keys[0])
        except CheckError as error:
            return [trouble(error, lines, hint=_bucket_hint(error, "s3:GetObject", where))]
    return [Finding(State.OK, f"lists and reads {where}")]


def _bucket_hint(error: CheckError, action: str, where: str) -> str:
    if any(code in error.summary for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")):
        return "Set backup.access_key_id and backup.secret_access_key to a pair that is valid."
    if error.status == FORBIDDEN:
        return f"Allow {action} on {where} to the key's owner."
    return "Check backup.bucket, backup.region and backup.endpoint_url."


def _get(client: httpx.Client, path: str, query: dict[str, Any], what: str) -> Any:
    with http_errors(what):
        response = client.get(path, params=query)
        response.raise_for_status()
        return response.json()


def _untold(vendor: str, right: str, lines: tuple[str, ...]) -> Finding:
    return Finding(
        State.NOTE, f"{vendor} does not tell whether {right} is granted: the first check shows it", lines=lines
    )
