"""Challenge: what a registry that answers 401 asks for, and where a login may be sent; no I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from httpx import URL

_PARAM = r'[a-z_]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]+)'
_CHALLENGE = re.compile(rf"\b(bearer|basic)\b((?:[\s,]*{_PARAM})*)", re.IGNORECASE)
_NAME_VALUE = re.compile(r'([a-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.IGNORECASE)


@dataclass(frozen=True)
class Challenge:
    """One way to be let in (RFC 9110, 11.6.1)."""

    bearer: bool  # with a token of `realm`; else by name and password
    realm: str = ""
    service: str = ""
    scopes: tuple[str, ...] = field(default=())


def challenge_in(headers: Iterable[str]) -> Challenge | None:
    """What the values of ``WWW-Authenticate`` ask for: a token where they offer that, as logins then travel less."""
    challenges = [_challenge(scheme, params) for value in headers for scheme, params in _CHALLENGE.findall(value)]
    usable = [one for one in challenges if one.realm or not one.bearer]
    return max(usable, key=lambda one: one.bearer, default=None)


def _challenge(scheme: str, params: str) -> Challenge:
    values = {name.lower(): re.sub(r"\\(.)", r"\1", text) or bare for name, text, bare in _NAME_VALUE.findall(params)}
    scopes = tuple(values.get("scope", "").split())
    return Challenge(scheme.lower() == "bearer", values.get("realm", ""), values.get("service", ""), scopes)


def is_safe(realm: URL, registry: URL) -> bool:
    """Whether tokens may be asked for at ``realm``: encrypted, unless the registry itself is asked in the clear."""
    return bool(realm.host) and (realm.scheme == "https" or (realm.scheme == "http" and registry.scheme == "http"))


def may_get_login(realm: URL, registry: URL, token_host: str) -> bool:
    """Whether the login may be sent to ``realm``: the registry's host, one of its domain, or the one that is configured."""
    host, own = realm.host.lower(), registry.host.lower()
    domain = _domain(own)
    return host in {own, token_host.lower()} or bool(domain and (host == domain or host.endswith(f".{domain}")))


def _domain(host: str) -> str:
    """The domain that a registry's host is in: gitlab.com of registry.gitlab.com; empty where strangers may share it."""
    domain = host.partition(".")[2]
    labels = domain.split(".")
    is_shared = len(labels) == 1 or (len(labels) == 2 and len(labels[0]) <= 3 and len(labels[1]) == 2)  # noqa: PLR2004  io, co.uk
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "" if is_shared else domain
    return ""
