"""How the bot authenticates with image registries of different vendors, over real sockets."""

import base64

import pytest
from httpx import URL

from clients.challenge import Challenge, challenge_in, may_get_login
from clients.errors import ClientError
from clients.registry import ImageRegistry
from clients.settings import RegistrySettings
from tests.checks.replies import Replies, Reply, Request

DIGEST = "sha256:" + "ab" * 32
BASIC = "Basic " + base64.b64encode(b"robot:pass").decode()
MANIFEST, TAGS = "/v2/shop/api/manifests/v4.8.0", "/v2/shop/api/tags/list"


def registry_at(url: str, login: tuple[str, str], image: str = "x/shop/api", token_host: str = "") -> ImageRegistry:
    """The client of ``image`` in the registry at ``url``."""
    name, token = login
    settings = {"url": url, "image": image, "username": name, "token": token, "token_host": token_host}
    return ImageRegistry(RegistrySettings.model_validate(settings))


def registry(challenge: str, expected: str, body: object = None) -> Replies:
    """A registry that accepts the Authorization header ``expected`` and answers others with ``challenge``, in which URL
    stands for its address.
    """

    def answer(request: Request) -> Reply:
        if request.headers.get("Authorization") == expected:
            return Reply(200, {"tags": []}, {"Docker-Content-Digest": DIGEST})
        return Reply(401, {}, {"WWW-Authenticate": challenge.replace("URL", server.url)} if challenge else {})

    server = Replies({f"HEAD {MANIFEST}": answer, f"GET {TAGS}": answer, "GET /jwt/auth": Reply(200, body)})
    return server


@pytest.mark.parametrize(
    ("challenge", "answer", "query"),
    [
        (  # GitLab
            'Bearer realm="URL/jwt/auth",service="container_registry",scope="repository:shop/api:pull"',
            {"token": "t0"},
            {"service": ["container_registry"], "scope": ["repository:shop/api:pull"]},
        ),
        (  # Azure: the other name of the token; no scope; two ways in one header
            'Basic realm="x, y", Bearer  realm=URL/jwt/auth , service="a\\"b"',
            {"access_token": "t0"},
            {"service": ['a"b'], "scope": ["repository:shop/api:pull"]},
        ),
        (  # a realm with a query of its own, relative, and two scopes
            'bearer realm="/jwt/auth?account=1",scope="repository:shop/api:pull repository:base:pull"',
            {"token": "t0"},
            {"account": ["1"], "scope": ["repository:shop/api:pull", "repository:base:pull"]},
        ),
    ],
    ids=["gitlab", "azure", "relative"],
)
def test_a_token_is_fetched_from_the_realm_that_the_registry_names(
    challenge: str, answer: dict[str, str], query: dict[str, list[str]]
):
    """The client fetches its token from the realm in the challenge, for the service and scope in it, with the login if
    there is one.
    """
    for login, authorization in ((("robot", "pass"), BASIC), (("", ""), None)):
        with registry(challenge, "Bearer t0", answer) as server:
            images = registry_at(server.url, login, "registry.example.com/shop/api")
            assert images.digest("v4.8.0") == DIGEST
            images.probe()
        token_requests = [request for request in server.requests if request.path == "/jwt/auth"]
        assert [(request.query, request.headers.get("Authorization")) for request in token_requests] == [
            (query, authorization)
        ] * 2


def test_basic_authentication_sends_name_and_password():
    """A registry with basic authentication, such as Amazon's or a plain `registry:2`, is given name and password."""
    with registry('Basic realm="https://x.dkr.ecr.eu-central-1.amazonaws.com/"', BASIC) as server:
        assert registry_at(server.url, ("robot", "pass")).digest("v4.8.0") == DIGEST
        with pytest.raises(ClientError, match="The image registry answered 401 for v4") as error:
            registry_at(server.url, ("", "")).digest("v4.8.0")
    assert error.value.hint == "Check registry.url, registry.username and registry.token."


@pytest.mark.parametrize(
    "challenge", ["", "Bearer", "Negotiate abc", 'Bearer realm=""', "\xff Bearer =,,"], ids=range(5)
)
def test_a_challenge_without_a_usable_realm_is_reported_as_the_status(challenge: str):
    """Where the challenge names no realm, the error reports the registry's status, and no other address is asked."""
    with (
        registry(challenge, "never") as server,
        pytest.raises(ClientError, match="The image registry answered 401 for v4"),
    ):
        registry_at(server.url, ("robot", "pass")).digest("v4.8.0")
    assert {request.path for request in server.requests} == {MANIFEST}


def test_the_login_is_not_sent_to_a_realm_of_another_domain():
    """A realm of another domain gets the login only if it is configured as token_host, and a realm that is no https
    address is not asked.
    """
    with Replies({"GET /jwt/auth": Reply(200, {"token": "t0"})}) as foreign_server:
        elsewhere = foreign_server.url.replace("127.0.0.1", "localhost")
        with registry(f'Bearer realm="{elsewhere}/jwt/auth"', "Bearer t0") as server:
            with pytest.raises(ClientError) as error:
                registry_at(server.url, ("robot", "pass")).digest("v4.8.0")
            assert foreign_server.requests == []
            images = registry_at(server.url, ("robot", "pass"), token_host="localhost")
            assert images.digest("v4.8.0") == DIGEST
        with registry('Bearer realm="file:///etc/passwd"', "") as server, pytest.raises(ClientError) as file_error:
            registry_at(server.url, ("", "")).digest("v4.8.0")
    assert error.value.summary == "The image registry gets its tokens from localhost, which is outside its domain"
    assert error.value.hint == (
        "The bot didn't send its login there. If that host belongs to the registry, set registry.token_host to it."
    )
    assert file_error.value.summary == "The image registry gets its tokens from an address that isn't https"


@pytest.mark.parametrize(
    ("registry_host", "realm_host", "may"),
    [
        ("ghcr.io", "ghcr.io", True),
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.example.co.uk", "gitlab.example.co.uk", True),
        ("ghcr.io", "evil.io", False),
        ("registry.co.uk", "evil.co.uk", False),
        ("registry.gitlab.com", "evilgitlab.com", False),
        ("10.0.0.1", "9.0.0.1", False),
        ("registry", "auth", False),
    ],
)
def test_only_hosts_of_the_registrys_domain_may_get_the_login(registry_host: str, realm_host: str, may: bool):
    """may_get_login() accepts the registry's own host and hosts of the same domain."""
    assert may_get_login(URL(f"https://{realm_host}/t"), URL(f"https://{registry_host}/"), "") is may


def test_challenges_are_parsed_in_any_case_and_number():
    """Challenges are found in several headers and in any letter case, and a bearer challenge is preferred to a basic
    one.
    """
    assert challenge_in(["Basic", 'BEARER Realm="https://a/"']) == Challenge(True, "https://a/")
    assert challenge_in(['Digest realm="Bearer"']) is None
