"""Kind ``api_flow``: the test user logs in and one request that needs a session works, the smoke test of a release."""

from __future__ import annotations

from pydantic import Field, JsonValue

from checks.clients import http_errors
from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params
from checks.product import UNREACHED, address, differences, json_object, session, unreached


class ApiFlowParams(Params):
    """Where to log in, what to ask for then, and what must come back."""

    login_path: str = Field(default="/api/auth/login", pattern="^/")
    path: str = Field(default="/api/v1/roster/plans", pattern="^/")
    status: int = 200
    expect: dict[str, JsonValue] = Field(default={"success": True})  # dotted path in the body: value


class ApiFlow(Kind):
    """PASS when a read with the test user's session answers as expected. Reads only, so it may run on production."""

    name = "api_flow"
    summary = "The test user logs in and one authenticated GET answers as expected"
    params = ApiFlowParams
    spends = ("login",)
    touches = ("tenant",)  # the test user's requests depend on the tenant's billing status
    timeout = 30.0

    def run(self, params: ApiFlowParams, ctx: CheckContext) -> Answer:
        """Log in, ask once. Raises CheckError when the log-in is refused or the product cannot be reached."""
        url = address(ctx.target, "api", params.path)
        headers, _ = session(ctx, params.login_path)
        with http_errors(f"get {url}"):
            response = ctx.clients.http().get(url, headers=headers)
        expected = ", ".join([str(params.status), *(f"{path} = {value!r}" for path, value in params.expect.items())])
        evidence = Evidence(
            asked=f"POST {params.login_path}, then GET {url} with the session",
            expected=expected,
            seen=f"{response.status_code} {response.text}",
        )
        if response.status_code != params.status:
            if response.status_code in UNREACHED:
                raise unreached(f"get {url}", response.status_code)
            if response.status_code == 401:  # noqa: PLR2004  the plain HTTP status
                raise CheckError(
                    f"logged in, but GET {params.path} answers 401: the session was not taken",
                    hint="Run the check again; if it stays, look at how the product reads its session cookie.",
                    seen=response.text,
                )
            return Answer(
                Outcome.FAIL,
                f"logged in, but GET {params.path} answers {response.status_code}, not {params.status}",
                evidence,
            )
        wrong = differences(json_object(response, params.path), params.expect) if params.expect else []
        if wrong:
            return Answer(
                Outcome.FAIL,
                f"logged in, GET {params.path} answers {response.status_code}, but {', '.join(wrong)}",
                evidence,
            )
        return Answer(Outcome.PASS, f"logged in, GET {params.path} answers {expected}", evidence)
