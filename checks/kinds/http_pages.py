"""Kind ``http_pages``: pages that anybody may read answer, without a log-in, with the text that belongs on them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, Base, address, unreached
from clients.http import http_errors
from clients.needs import Need, at

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

_MAX_REDIRECTS = 5  # enough for http to https and a trailing slash
_NOT_SHOWN = re.compile(r"<(script|style|template|noscript)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


class ExpectedPage(Params):
    """One page and what makes it right."""

    path: str = Field(pattern="^/")
    text: str = ""  # words that a reader sees, such as the heading; empty: the status is enough
    status: int = 200


class HttpPagesParams(Params):
    """Which pages of which side of the product."""

    base: Base = "frontend"
    pages: tuple[ExpectedPage, ...] = Field(min_length=1)


class HttpPages(Kind):
    """PASS when every page answers at its own address with its status and text."""

    name = "http_pages"
    summary = "Pages are reachable without a login and show the expected text"
    params = HttpPagesParams
    example: ClassVar[Mapping[str, Any]] = {"pages": [{"path": "/"}]}
    timeout = 60.0

    def needs(self, params: HttpPagesParams) -> tuple[Need, ...]:
        """The address that is asked."""
        return (at(params.base),)

    def run(self, params: HttpPagesParams, ctx: CheckContext) -> Answer:
        """Ask for each page once. Raises CheckError when the site cannot be reached."""
        lines: list[str] = []
        wrong: list[str] = []
        for page in params.pages:
            fault, line = self._look(page, params.base, ctx)
            lines.append(line)
            if fault:
                wrong.append(f"{page.path} {fault}")
        paths = ", ".join(page.path for page in params.pages)
        evidence = Evidence(
            asked=f"GET {paths} on {address(ctx.target, params.base, '')}, not logged in",
            expected="; ".join(_expectation(page) for page in params.pages),
            seen="\n".join(lines),
        )
        if wrong:
            return Answer(Outcome.FAIL, "; ".join(wrong), evidence, hint="Open the address in a private window.")
        words = "page answers" if len(params.pages) == 1 else "pages answer"
        return Answer(Outcome.PASS, f"{len(params.pages)} {words} as expected: {paths}", evidence)

    def _look(self, page: ExpectedPage, base: Base, ctx: CheckContext) -> tuple[str, str]:
        """What is wrong with a page (empty: nothing), and a line that says what came back."""
        url = address(ctx.target, base, page.path)
        response = _get(url, ctx)
        for _ in range(_MAX_REDIRECTS):
            if not response.has_redirect_location:
                break
            elsewhere = response.url.join(response.headers["location"])
            line = f"{page.path}: {response.status_code} to {elsewhere}"
            if elsewhere.path.rstrip("/") != response.url.path.rstrip("/"):
                return f"redirects to {elsewhere.path}", line
            response = _get(str(elsewhere), ctx)
        kind = response.headers.get("content-type", "no content type")
        line = f"{page.path}: {response.status_code}, {kind}, {len(response.content)} bytes"
        if response.status_code != page.status:
            if response.status_code in UNREACHED:
                raise unreached(f"get {url}", response.status_code)
            return f"answers {response.status_code}, not {page.status}", line
        if page.text and not kind.startswith("text/html"):
            return f"is {kind}, not text/html", line
        if page.text and page.text not in _visible(response.text):
            return f'doesn\'t contain "{page.text}"', line
        return "", line


def _get(url: str, ctx: CheckContext) -> httpx.Response:
    with http_errors(f"get {url}"):
        return ctx.clients.http().get(url)


def _visible(page: str) -> str:
    """The text of a page as a reader sees it: no markup, entities resolved, one space between words."""
    return " ".join(html.unescape(_TAG.sub(" ", _NOT_SHOWN.sub(" ", page))).split())


def _expectation(page: ExpectedPage) -> str:
    return f"{page.path}: {page.status}" + (f' with "{page.text}"' if page.text else "")
