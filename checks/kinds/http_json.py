"""Kind ``http_json``: one address answers with a status and with certain values in its JSON body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, Base, address, differences, json_object, unreached
from clients.errors import ClientError
from clients.http import http_errors
from clients.needs import Need, at

_LOOK = "The whole answer is in the evidence. See the product's log of that time."


class HttpJsonParams(Params):
    """What is asked, and what the answer must be."""

    base: Base = "api"
    path: str = Field(pattern="^/")
    status: int = 200
    expect: dict[str, JsonValue] = Field(default_factory=dict)  # dotted path in the body: value
    unreachable: Literal["error", "fail"] = "error"  # what it means when nobody answers


class HttpJson(Kind):
    """PASS when status and values are as expected: a status 200 alone proves nothing, a sick product sends it too."""

    name = "http_json"
    summary = "One GET answers with the expected status and JSON values, such as /health with status healthy"
    params = HttpJsonParams
    example: ClassVar[Mapping[str, Any]] = {"path": "/health"}
    timeout = 30.0

    def needs(self, params: HttpJsonParams) -> tuple[Need, ...]:
        """The address that is asked."""
        return (at(params.base),)

    def run(self, params: HttpJsonParams, ctx: CheckContext) -> Answer:
        """Ask once. Raises CheckError when the product does not send a JSON object, or cannot be reached.

        With ``unreachable: fail`` that nobody answers is a FAIL: right where the product had answered a moment before,
        as in the watch after a deploy.
        """
        url = address(ctx.target, params.base, params.path)
        expectation = ", ".join([str(params.status), *(f"{path} = {value!r}" for path, value in params.expect.items())])
        try:
            with http_errors(f"get {url}"):
                response = ctx.clients.http().get(url)
            if response.status_code in UNREACHED and response.status_code != params.status:
                raise unreached(f"get {url}", response.status_code)
        except ClientError as exc:
            if params.unreachable == "error":
                raise
            no_answer = Evidence(asked=f"GET {url}", expected=expectation, seen=exc.seen or exc.summary)
            return Answer(Outcome.FAIL, exc.summary, no_answer, hint=exc.hint)
        evidence = Evidence(asked=f"GET {url}", expected=expectation, seen=f"{response.status_code} {response.text}")
        if response.status_code != params.status:
            summary = f"{params.path} answers {response.status_code}, not {params.status}"
            return Answer(Outcome.FAIL, summary, evidence, hint=_LOOK)
        wrong = differences(json_object(response, params.path), params.expect) if params.expect else []
        if wrong:
            summary = f"{params.path} answers {response.status_code}, but {', '.join(wrong)}"
            return Answer(Outcome.FAIL, summary, evidence, hint=_LOOK)
        return Answer(Outcome.PASS, f"{params.path} answers {expectation}", evidence)
