"""Kind ``api_flow``: the test user logs in and one request that needs a session works, the smoke test of a release."""

from __future__ import annotations

import httpx
from pydantic import Field, JsonValue

from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.http_answers import UNREACHED, address, differences, json_object, unreached
from checks.solvereign.product import log_in
from clients.http import cookie_header, http_errors
from clients.needs import API, LOG_IN, LOGIN, Need, Reads

_LOOK = "See the pod's log from the time of the login."


class ApiFlowParams(Params):
    """Where to log in, what to ask for then, and what must come back."""

    login_path: str = Field(default="/api/auth/login", pattern="^/")
    path: str = Field(default="/api/v1/roster/plans", pattern="^/")
    status: int = 200
    expect: dict[str, JsonValue] = Field(default={"success": True})  # dotted path in the body: value


class ApiFlow(Kind):
    """PASS when a read with the test user's session answers as expected. Reads only, so it may run on production.

    It logs in once, as every attempt counts. A product that fails at it, or gives no cookie, fails; one that refuses
    this very user (401, 403, 429) has not been asked.
    """

    name = "api_flow"
    summary = "The test user logs in and one authenticated GET answers as expected"
    params = ApiFlowParams
    timeout = 30.0

    def needs(self, params: ApiFlowParams) -> tuple[Need, ...]:
        """The address of the product, and the test user."""
        return (LOG_IN, Reads("tenant"), API, LOGIN)

    def run(self, params: ApiFlowParams, ctx: CheckContext) -> Answer:
        """Log in, ask once. Raises CheckError when the user is refused or the product cannot be reached."""
        url = address(ctx.target, "api", params.path)
        expectation = ", ".join([str(params.status), *(f"{path} = {value!r}" for path, value in params.expect.items())])
        question = f"POST {params.login_path}, then GET {url} with the session"
        login = log_in(ctx, params.login_path)
        headers = cookie_header(login)
        if login.status_code != httpx.codes.OK or not headers:
            what = "sets no cookie" if login.is_success else f"answers {login.status_code}"
            details = f"{login.status_code}, {_flags(login) or 'no cookie'}"
            return Answer(
                Outcome.FAIL, f"the login {what}", Evidence(question, "200 with a cookie", details), hint=_LOOK
            )
        with http_errors(f"get {url}"):
            response = ctx.clients.http().get(url, headers=headers)
        details = f"login: {login.status_code}, {_flags(login)}\nthen: {response.status_code} {response.text}"
        evidence = Evidence(asked=question, expected=expectation, seen=details)
        if response.status_code != params.status:
            if response.status_code in UNREACHED:
                raise unreached(f"get {url}", response.status_code)
            if response.status_code == 401:  # noqa: PLR2004  the plain HTTP status
                raise CheckError(
                    f"logged in, but GET {params.path} answers 401: the session was not accepted",
                    hint="Run the check again. If it stays, check how the product reads its session cookie.",
                    seen=response.text,
                )
            return Answer(
                Outcome.FAIL,
                f"logged in, but GET {params.path} answers {response.status_code}, not {params.status}",
                evidence,
                hint=_LOOK,
            )
        wrong = differences(json_object(response, params.path), params.expect) if params.expect else []
        if wrong:
            return Answer(
                Outcome.FAIL,
                f"logged in, GET {params.path} answers {response.status_code}, but {', '.join(wrong)}",
                evidence,
                hint=_LOOK,
            )
        return Answer(Outcome.PASS, f"logged in, GET {params.path} answers {expectation}", evidence)


def _flags(response: httpx.Response) -> str:
    """How the session's cookie is kept safe, without its name and value; empty when none was set."""
    cookies = response.headers.get_list("set-cookie")
    flags = [";".join(cookie.split(";")[1:]).strip() or "no attributes" for cookie in cookies]
    return " and ".join(f"cookie ({flag})" for flag in flags)
