"""Kind ``http_json``: one address answers with a status and with certain values in its JSON body."""

from __future__ import annotations

from pydantic import Field, JsonValue

from checks.clients import http_errors
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.product import UNREACHED, Base, address, differences, json_object, unreached


class HttpJsonParams(Params):
    """What is asked, and what the answer must be."""

    base: Base = "api"
    path: str = Field(pattern="^/")
    status: int = 200
    expect: dict[str, JsonValue] = Field(default_factory=dict)  # dotted path in the body: value


class HttpJson(Kind):
    """PASS when status and values are as expected: a status 200 alone proves nothing, a sick product sends it too."""

    name = "http_json"
    summary = "One GET answers with the expected status and JSON values, such as /health with status healthy"
    params = HttpJsonParams
    timeout = 30.0

    def run(self, params: HttpJsonParams, ctx: CheckContext) -> Answer:
        """Ask once. Raises CheckError when the product cannot be reached or does not send a JSON object."""
        url = address(ctx.target, params.base, params.path)
        with http_errors(f"get {url}"):
            response = ctx.clients.http().get(url)
        expected = ", ".join([str(params.status), *(f"{path} = {value!r}" for path, value in params.expect.items())])
        evidence = Evidence(asked=f"GET {url}", expected=expected, seen=f"{response.status_code} {response.text}")
        if response.status_code != params.status:
            if response.status_code in UNREACHED:
                raise unreached(f"get {url}", response.status_code)
            return Answer(Outcome.FAIL, f"{params.path} answers {response.status_code}, not {params.status}", evidence)
        wrong = differences(json_object(response, params.path), params.expect) if params.expect else []
        if wrong:
            return Answer(
                Outcome.FAIL, f"{params.path} answers {response.status_code}, but {', '.join(wrong)}", evidence
            )
        return Answer(Outcome.PASS, f"{params.path} answers {expected}", evidence)
