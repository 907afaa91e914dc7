"""How the bot is let in by registries of other makes: each asks in its own words, on a real socket."""

import base64

import pytest
from httpx import URL

from clients.challenge import Challenge, challenge_in, may_get_login
from clients.errors import ClientError
from clients.registry import ImageRegistry, RegistrySettings
from tests.checks.replies import Replies, Reply, Request

DIGEST = "sha256:" + "ab" * 32
BASIC = "Basic " + base64.b64encode(b"robot:pass").decode()
MANIFEST, TAGS = "/v2/shop/api/manifests/v4.8.0", "/v2/shop/api/tags/list"


def registry_at(url: str, login: tuple[str, str], image: str = "x/shop/api", token_host: str = "") -> ImageRegistry:
    """The client of an image in the registry at ``url``."""
    name, token = login
    settings = {"url": url, "image": image, "username": name, "token": token, "token_host": token_host}
    return ImageRegistry(RegistrySettings.model_validate(settings))


def registry(challenge: str, expected: str, body: object = None) -> Replies:
    """A registry that lets in who sends ``expected``; others get ``challenge``, in which URL stands for its address."""

    def asked(request: Request) -> Reply:
        if request.headers.get("Authorization") == expected:
            return Reply(200, {"tags": []}, {"Docker-Content-Digest": DIGEST})
        return Reply(401, {}, {"WWW-Authenticate": challenge.replace("URL", served.url)} if challenge else {})

    served = Replies({f"HEAD {MANIFEST}": asked, f"GET {TAGS}": asked, "GET /jwt/auth": Reply(200, body)})
    return served


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
def test_token_of_the_realm(challenge: str, answer: dict[str, str], query: dict[str, list[str]]):
    """Where the registry says, for the service and the scope that it says; with the login, or with none."""
    for login, sent in ((("robot", "pass"), BASIC), (("", ""), None)):
        with registry(challenge, "Bearer t0", answer) as served:
            images = registry_at(served.url, login, "registry.example.com/shop/api")
            assert images.digest("v4.8.0") == DIGEST
            images.probe()
        asked = [request for request in served.requests if request.path == "/jwt/auth"]
        assert [(request.query, request.headers.get("Authorization")) for request in asked] == [(query, sent)] * 2


def test_by_name_and_password():
    """As Amazon's and a plain `registry:2` want it."""
    with registry('Basic realm="https://x.dkr.ecr.eu-central-1.amazonaws.com/"', BASIC) as served:
        assert registry_at(served.url, ("robot", "pass")).digest("v4.8.0") == DIGEST
        with pytest.raises(ClientError, match="The image registry answered 401 for v4") as refused:
            registry_at(served.url, ("", "")).digest("v4.8.0")
    assert refused.value.hint == "Check registry.url, registry.username and registry.token."


@pytest.mark.parametrize(
    "challenge", ["", "Bearer", "Negotiate abc", 'Bearer realm=""', "\xff Bearer =,,"], ids=range(5)
)
def test_a_challenge_that_says_nothing(challenge: str):
    """The registry's own answer is told; no address is made up."""
    with (
        registry(challenge, "never") as served,
        pytest.raises(ClientError, match="The image registry answered 401 for v4"),
    ):
        registry_at(served.url, ("robot", "pass")).digest("v4.8.0")
    assert {request.path for request in served.requests} == {MANIFEST}


def test_the_login_is_not_sent_to_strangers():
    """A realm of another domain gets none of it, unless it is configured; nothing is asked of one that is no web address."""
    with Replies({"GET /jwt/auth": Reply(200, {"token": "t0"})}) as stranger:
        elsewhere = stranger.url.replace("127.0.0.1", "localhost")
        with registry(f'Bearer realm="{elsewhere}/jwt/auth"', "Bearer t0") as served:
            with pytest.raises(ClientError) as refused:
                registry_at(served.url, ("robot", "pass")).digest("v4.8.0")
            assert stranger.requests == []
            allowed = registry_at(served.url, ("robot", "pass"), token_host="localhost")
            assert allowed.digest("v4.8.0") == DIGEST
        with registry('Bearer realm="file:///etc/passwd"', "") as served, pytest.raises(ClientError) as odd:
            registry_at(served.url, ("", "")).digest("v4.8.0")
    assert refused.value.summary == "The image registry sends for tokens to localhost, which is not of its domain"
    assert refused.value.hint == (
        "The login was not sent there. If that host is the registry's own, set registry.token_host to it."
    )
    assert odd.value.summary == "The image registry sends for tokens to an address that is not https"


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
def test_who_may_get_the_login(registry_host: str, realm_host: str, may: bool):
    """The registry's own host and those of its domain."""
    assert may_get_login(URL(f"https://{realm_host}/t"), URL(f"https://{registry_host}/"), "") is may


def test_challenges_are_read_as_they_come():
    """Several headers, several in one, in any case; a token is preferred."""
    assert challenge_in(["Basic", 'BEARER Realm="https://a/"']) == Challenge(True, "https://a/")
    assert challenge_in(['Digest realm="Bearer"']) is None
