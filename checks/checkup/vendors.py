"""Checkup of Sentry, Grafana, Stripe and the bucket: is the token taken, and does it have the rights that are needed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from clients.answers import reading
from clients.connections import Clients
from clients.errors import ClientError
from clients.registry import ImageRegistry
from clients.s3 import s3_errors
from clients.settings import RegistrySettings
from clients.target import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clients.grafana import Grafana
    from clients.sentry import Sentry
    from clients.target import Target

NOT_ACCEPTABLE = 406  # Grafana: a dashboard of the second schema, which it has and shows elsewhere


# Each takes just that scope.
_SENTRY_SCOPES: Mapping[str, Callable[[Sentry], object]] = {
    "org:read": lambda sentry: sentry.get_organization()["slug"],
    "project:read": lambda sentry: sentry.get_project()["slug"],
    "event:read": lambda sentry: next(sentry.issues({"query": ""}, limit=1), None),
}


def sentry(target: Target, needs: Needs) -> list[Finding]:
    """Sentry does not tell a token's scopes, so each is tried by a call that takes just it (docs.sentry.io/api/permissions)."""
    part = require(target.sentry, target, "sentry")
    findings = []
    with Clients(target, http_timeout=PATIENCE) as clients:
        client = clients.sentry()
        for scope in rights_in(needs):
            lines = lines_of(needs, scope)
            if scope not in _SENTRY_SCOPES:
                findings.append(_untold("Sentry", scope, lines))
                continue
            try:
                with reading("Sentry", scope.partition(":")[0]):
                    _SENTRY_SCOPES[scope](client)
            except ClientError as error:
                hints = {
                    REFUSED: "Set sentry.token to the token of an internal integration.",
                    FORBIDDEN: f"Give the integration the scope {scope}, or the project {part.project}.",
                    NOT_FOUND: "Check sentry.organization and sentry.project: the token can't see these names.",
                }
                if error.status == FORBIDDEN:
                    what = f"the token lacks {scope} for {part.organization}/{part.project}"
                    findings.append(Finding(State.MISSING, what, hints[FORBIDDEN], lines=lines))
                    continue
                everything = lines_of(needs)
                return [*findings, trouble(error, everything, hint=hints.get(error.status, ""))]
    return findings or [Finding(State.OK, f"connected; the token has {', '.join(rights_in(needs))}")]


def grafana(target: Target, needs: Needs) -> list[Finding]:
    """Grafana lists what a token may do (grafana.com/docs, service accounts: list a token's permissions)."""
    findings = []
    with Clients(target, http_timeout=PATIENCE) as clients:
        client = clients.grafana()
        try:
            granted_actions = client.permissions()
        except ClientError as error:
            if error.status != NOT_FOUND:
                hint = "Set grafana.token to that of a service account with the role Viewer."
                return [trouble(error, lines_of(needs), hint=hint)]
            what = "is older than 8.5 and doesn't list a token's rights; the first check shows them"
            return [Finding(State.NOTE, what, lines=lines_of(needs))]
        for action in rights_in(needs):
            if action not in granted_actions:
                hint = "Give the service account the role Viewer, or this action."
                findings.append(
                    Finding(State.MISSING, f"the token lacks {action}", hint, lines=lines_of(needs, action))
                )
        for use, lines in needs.items():
            if use.on and use.right in granted_actions:
                findings += _dashboard(client, use.on, lines)
    return findings or [Finding(State.OK, f"connected; the token has {', '.join(rights_in(needs))}")]


def _dashboard(client: Grafana, uid: str, lines: tuple[str, ...]) -> list[Finding]:
    try:
        client.dashboard(uid)
    except ClientError as error:
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
            hint = f"Set {key} to a restricted key of {right} that can read webhook endpoints."
            return [Finding(State.MISSING, f"the key is for {mode}; the checklist needs {right}", hint, lines=lines)]
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            clients.stripe().webhook_endpoints()
        except ClientError as error:
            hint = f"Set {key} to a valid key."
            if error.status == FORBIDDEN:
                hint = "Give the restricted key the right to read webhook endpoints."
            return [trouble(error, lines_of(needs), hint=hint)]
    return [Finding(State.OK, f"connected in {mode}; the key can read webhook endpoints")]


def bucket(target: Target, needs: Needs) -> list[Finding]:
    """The bucket under its prefix: what needs listing is listed, what needs reading is read at its head."""
    part = require(target.backup, target, "backup")
    where = f"s3://{part.bucket}/{part.prefix}"
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            with s3_errors(f"list {where}"):
                listing = clients.s3().list_objects_v2(Bucket=part.bucket, Prefix=part.prefix, MaxKeys=1)
        except ClientError as error:
            return [trouble(error, lines_of(needs), hint=_bucket_hint(error, "s3:ListBucket", where))]
        keys = [str(item["Key"]) for item in listing.get("Contents", [])]
        if not (lines := lines_of(needs, "s3:GetObject")):
            return [Finding(State.OK, f"can list {where}")]
        if not keys:
            hint = "The first backup shows whether the bot can read it."
            return [Finding(State.NOTE, f"can list {where}, which is empty", hint, lines=lines)]
        try:
            with s3_errors(f"read {keys[0]} in s3://{part.bucket}"):
                clients.s3().head_object(Bucket=part.bucket, Key=keys[0])
        except ClientError as error:
            return [trouble(error, lines, hint=_bucket_hint(error, "s3:GetObject", where))]
    return [Finding(State.OK, f"can list and read {where}")]


def _bucket_hint(error: ClientError, action: str, where: str) -> str:
    if any(code in error.summary for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")):
        return "Set backup.access_key_id and backup.secret_access_key to a valid pair."
    if error.status == FORBIDDEN:
        return f"Allow {action} on {where} to the key's owner."
    return "Check backup.bucket, backup.region and backup.endpoint_url."


def _untold(vendor: str, right: str, lines: tuple[str, ...]) -> Finding:
    return Finding(State.NOTE, f"{vendor} doesn't show whether {right} is granted; the first check will", lines=lines)


def vercel(target: Target, needs: Needs) -> list[Finding]:
    """A token of Vercel has the rights of its owner, and Vercel does not tell which these are."""
    part = require(target.vercel, target, "vercel")
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            name = clients.vercel().project().get("name", part.project)
        except ClientError as error:
            return [trouble(error, lines_of(needs), hint=error.hint)]
    what = f"connected to the project {name}"
    return [Finding(State.OK, what, "Vercel doesn't show whether the token's owner can deploy; the first deploy will.")]


def registry(part: RegistrySettings, lines: tuple[str, ...]) -> list[Finding]:
    """Whether the image's tags may be listed."""
    try:
        ImageRegistry(part, timeout=PATIENCE).probe()
    except ClientError as error:
        return [trouble(error, lines, hint="Check registry.image, registry.username and registry.token.")]
    return [Finding(State.OK, f"connected to {part.image}")]
