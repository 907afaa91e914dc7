"""Which kind could answer a line of somebody's checklist, as far as its text shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_VERIFY = re.compile(r"SELECT\s+\*\s+FROM\s+([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?)\s*\(\s*\)", re.IGNORECASE)
_ROWS = re.compile(r"\ball\s+(\d+)\s+checks\b", re.IGNORECASE)
_LOGS = re.compile(r"\bkubectl\b[^`|]*\blogs\b", re.IGNORECASE)
_TRIGGER = re.compile(r"\bstripe\s+trigger\s+([a-z_]+(?:\.[a-z_]+)+)")
_TIMES = re.compile(r"\b(\d)\s*x\b|\b(\d)\s+times\b", re.IGNORECASE)
_BUCKET = re.compile(r"\bs3://[a-z0-9][a-z0-9.-]+|\bS3\s+(?:files?|objects?|backups?|dumps?)\b", re.IGNORECASE)
_BACKUP_IN_S3 = re.compile(r"\bbackups?\b.*\bS3\b", re.IGNORECASE | re.DOTALL)
_VARIABLE = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=([^`\s]+))?`")
_PATH = re.compile(r"`(/[A-Za-z0-9._~/-]*)`")
_HEALTH = re.compile(r"^/(?:.*/)?(?:health|healthz|ready|readyz|status|ping)$")


@dataclass(frozen=True)
class Proposal:
    """A kind of check with its params. ``certain``: it changes nothing and all params are known, so it is used as it is."""

    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    certain: bool = True
    target: str = "staging"
    why: str = ""  # what to consider before it is used


def propose(text: str, about: str) -> Proposal | None:
    """Return the kind that could answer a line, or None if only a person can. ``about``: the text around it."""
    for rule in _RULES:
        proposal = rule(text, "production" if "production" in f"{text} {about}".lower() else "staging")
        if proposal is not None:
            return proposal
    return None


def _verify(text: str, target: str) -> Proposal | None:
    call = _VERIFY.search(text)
    if call is None or "verify" not in call[1].lower():
        return None
    rows = _ROWS.search(text)
    params = {"function": call[1].lower()} | ({"rows": [int(rows[1])]} if rows else {})
    return Proposal("sql_verify", params, target=target)


def _logs(text: str, target: str) -> Proposal | None:
    return Proposal("pod_logs", target=target) if _LOGS.search(text) else None


def _webhook(text: str, _: str) -> Proposal | None:
    command = _TRIGGER.search(text)
    if command is None:
        return None
    times = _TIMES.search(text)
    params = {"event": command[1], "deliveries": int(times[1] or times[2]) if times else 1}
    return Proposal("stripe_webhook", params, certain=False, why="it sends a test event to the target")


def _bucket(text: str, _: str) -> Proposal | None:
    if not _BUCKET.search(text) and not _BACKUP_IN_S3.search(text):
        return None
    return Proposal("backup_job", certain=False, why="it runs the backup CronJob of targets.staging.backup")


def _variables(text: str, target: str) -> Proposal | None:
    variables = _VARIABLE.findall(text)
    if not variables:
        return None
    names = [name for name, value in variables if not value]
    values = {name: [value] for name, value in variables if value}
    params: dict[str, Any] = ({"variables": names} if names else {}) | ({"plain": values} if values else {})
    return Proposal("workload_env", params, target=target)


def _pages(text: str, target: str) -> Proposal | None:
    paths = _PATH.findall(text)
    if not paths:
        return None
    if len(paths) == 1 and _HEALTH.match(paths[0]):
        return Proposal("http_json", {"path": paths[0]}, target=target)
    return Proposal("http_pages", {"pages": [{"path": path} for path in paths]}, target=target)


_RULES: tuple[Callable[[str, str], Proposal | None], ...] = (_verify, _logs, _webhook, _bucket, _variables, _pages)
