"""Logging in at an OpenID Connect provider: a real one, and one that does everything wrong."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit

import httpx2 as httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from engine.config.files import ConsoleRole, Oidc
from engine.console.answers import Away
from engine.console.people import NotLetIn
from engine.console.people.fetch import fetch
from engine.console.people.oidc import Begun, OidcLogin
from engine.console.rights import Grant, Role
from tests.support import skip_without
from tests.unit.console.people.conftest import HOUR, MINUTE, ROOT, SECOND, World

REDIRECT = "https://console.example.org/login/oidc/back"
ISSUER = "https://login.example.org/realms/hospital"
SECRET = "a secret: with signs/+="
GRANTS: dict[str, Any] = {"lab-team": {"operator": "lab*", "viewer": ["*"]}, "wardline-admins": {"admin": "*"}}


def settings(issuer: str = ISSUER, **more: Any) -> Oidc:
    return Oidc(issuer=issuer, client_id="wardline", client_secret=SECRET, grants=GRANTS, **more)  # type: ignore[arg-type]


def test_roles_are_the_same_in_files_and_rights() -> None:
    assert set(get_args(ConsoleRole)) == set(Role)


@pytest.mark.parametrize(
    "issuer", ["http://login.example.org", "login.example.org", "https://a@b.c", "https://a.b/?x=1", "ftp://a.b"]
)
def test_an_issuer_is_an_https_url(issuer: str) -> None:
    with pytest.raises(ValueError, match="issuer"):
        settings(issuer)


# ── a real provider ────────────────────────────────────────────────────────────────────────────────────────────────

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `oidc-provider` of npm in it."""
    directory = tmp_path_factory.mktemp("provider")
    (directory / "package.json").write_text('{"type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "oidc-provider@9"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        skip_without("npm", "npm install oidc-provider took too long")
    if done.returncode:
        skip_without("npm", "npm install oidc-provider failed: is its registry within reach?")
    shutil.copy(HERE / "provider.js", directory)
    return directory


@pytest.fixture
def serve(package: Path) -> Iterator[Callable[..., str]]:
    """Start a provider: its issuer."""
    running = []

    def start(*arguments: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            ["node", "provider.js", str(port), REDIRECT, *arguments],
            cwd=package,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready"):
                break
        return f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def browse(begun: Begun, login: str, agree: bool = True) -> dict[str, str]:
    """As a person at the provider's pages: what the browser is sent back with."""
    with httpx.Client(follow_redirects=False, timeout=20) as browser:
        answer = browser.get(begun.url)
        for _ in range(12):
            if answer.is_redirect:
                to = str(answer.next_request.url) if answer.next_request else ""
                if to.startswith(REDIRECT):
                    return dict(parse_qsl(urlsplit(to).query))
                answer = browser.get(to)
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
            assert action is not None, answer.text
            assert prompt is not None
            if not agree:
                cancel = re.search(r'href="([^"]+/abort)"', answer.text)
                assert cancel is not None
                answer = browser.get(httpx.URL(action[1]).join(cancel[1]))
                continue
            answer = browser.post(action[1], data={"prompt": prompt[1], "login": login, "password": "any"})
    raise AssertionError("the provider never sent the browser back")


def now_of(world: World) -> None:
    world.now = time.time_ns() // 1000


@pytest.mark.needs("node", "npm")
@pytest.mark.parametrize("arguments", [(), ("userinfo",)], ids=["claims in the ID token", "claims at userinfo"])
def test_people_log_in_at_a_real_provider(world: World, serve: Callable[..., str], arguments: tuple[str, ...]) -> None:
    now_of(world)
    world.add("ann")
    oidc = OidcLogin(world.people._core, world.people.sessions, settings(serve(*arguments)))
    begun = oidc.begin(REDIRECT)
    back = browse(begun, "anna")
    cookie = oidc.finish(back, begun.cookie, REDIRECT, "10.0.0.1", "a browser")
    who = world.who(cookie)
    assert (who.name, who.display) == ("anna@127.0.0.1", "Anna Bell")
    assert set(who.grants) == {Grant(Role.OPERATOR, "lab*"), Grant(Role.VIEWER, "*")}
    assert world.trail("login")[-1].who == "anna@127.0.0.1"
    with pytest.raises((NotLetIn, Away)):  # the code was good once
        oidc.finish(back, begun.cookie, REDIRECT, "10.0.0.1")
    begun = oidc.begin(REDIRECT)
    with pytest.raises(NotLetIn, match="no rights here"):
        oidc.finish(browse(begun, "nobody"), begun.cookie, REDIRECT, "10.0.0.1")
    begun = oidc.begin(REDIRECT)
    with pytest.raises(NotLetIn, match="has not let you in"):
        oidc.finish(browse(begun, "anna", agree=False), begun.cookie, REDIRECT, "10.0.0.1")
    world.people.persons.disable(ROOT, "anna@127.0.0.1")
    assert world.people.session(cookie) is None
    begun = oidc.begin(REDIRECT)
    with pytest.raises(NotLetIn, match="not let in any more"):
        oidc.finish(browse(begun, "anna"), begun.cookie, REDIRECT, "10.0.0.1")


@pytest.mark.needs("node", "npm")
def test_a_code_that_was_stolen_is_worth_nothing_in_another_browser(world: World, serve: Callable[..., str]) -> None:
    now_of(world)
    oidc = OidcLogin(world.people._core, world.people.sessions, settings(serve()))
    victim, thief = oidc.begin(REDIRECT), oidc.begin(REDIRECT)
    stolen = browse(victim, "boss")
    with pytest.raises(NotLetIn, match="not begun in this browser"):
        oidc.finish(stolen, thief.cookie, REDIRECT, "10.0.0.9")
    states = parse_qs(urlsplit(thief.url).query)["state"]
    with pytest.raises((NotLetIn, Away)):  # PKCE: the provider itself refuses
        oidc.finish({**stolen, "state": states[0]}, thief.cookie, REDIRECT, "10.0.0.9")


# ── one that does everything wrong ─────────────────────────────────────────────────────────────────────────────────


class Faker:
    """A provider's answers, without a network; what it says can be bent."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key: Any = RSAKey.generate_key(2048, {"kid": "one"})
        self.keys = [self.key]
        self.asked: list[str] = []
        self.discovery: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
        }
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.answer: dict[str, Any] | None = None
        self.sign: Any = None
        self.form: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def __call__(self, url: str, headers: Any = None, form: Any = None) -> dict[str, Any]:
        self.asked.append(url)
        if url.endswith("openid-configuration"):
            return self.discovery
        if url.endswith("/jwks"):
            return KeySet(self.keys).as_dict()  # type: ignore[return-value]
        self.form, self.headers = form, headers
        if self.answer is not None:
            return self.answer
        at = self.world.now // SECOND
        usual = {
            "iss": ISSUER,
            "aud": "wardline",
            "sub": "anna",
            "iat": at,
            "exp": at + 60,
            "nonce": self.nonce,
            "groups": ["lab-team"],
            "preferred_username": "anna",
        }
        claims = {name: value for name, value in (usual | self.claims).items() if value is not None}
        return {
            "id_token": jwt.encode(self.header, claims, self.sign or self.key, algorithms=[self.header["alg"]]),
            "access_token": "x",
        }

    nonce = ""


@pytest.fixture
def faker(world: World) -> Faker:
    world.add("ann")
    return Faker(world)


def log_in(world: World, faker: Faker, oidc: OidcLogin | None = None, **back: str) -> str:
    oidc = oidc or OidcLogin(world.people._core, world.people.sessions, settings(), faker)
    begun = oidc.begin(REDIRECT)
    query = dict(parse_qsl(urlsplit(begun.url).query))
    faker.nonce = query["nonce"]
    cookie = oidc.finish({"code": "c", "state": query["state"], **back}, begun.cookie, REDIRECT, "10.0.0.1")
    verifier = faker.form["code_verifier"]
    assert query["code_challenge"] == urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    return cookie


def test_what_is_right_is_let_in(world: World, faker: Faker) -> None:
    who = world.who(log_in(world, faker, iss=ISSUER))
    assert who.name == "anna@login.example.org"
    kind, _, credentials = faker.headers["authorization"].partition(" ")
    assert kind == "Basic"
    assert unquote_plus(b64decode(credentials).decode().partition(":")[2]) == SECRET
    assert "client_secret" not in faker.form


@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://evil.example.org"}, {"iss": None}, {"aud": "another"}, {"aud": ["another"]}, {"aud": None}, {"aud": ["wardline", "other"]},
     {"azp": "other"}, {"nonce": "of another login"}, {"nonce": None}, {"exp": 1_800_000_000 - 61}, {"exp": None}, {"iat": None},
     {"iat": 1_800_000_000 + 3600}, {"nbf": 1_800_000_000 + 3600}, {"sub": None}, {"sub": 7}, {"exp": "soon"},
     {"groups": None}, {"groups": []}, {"groups": "staff"}, {"groups": [["lab-team"]]}, {"groups": {"lab-team": 1}}],
    ids=str,
)  # fmt: skip
def test_tokens_that_claim_something_wrong_are_refused(world: World, faker: Faker, claims: dict[str, Any]) -> None:
    faker.claims = claims
    with pytest.raises(NotLetIn):
        log_in(world, faker)
    assert [person.name for person in world.people.persons.all()] == ["ann"]
    assert world.trail("login")[-1].outcome == "denied"


def test_clocks_may_differ_by_a_minute(world: World, faker: Faker) -> None:
    faker.claims = {"exp": world.now // SECOND - 59, "iat": world.now // SECOND + 59}
    assert log_in(world, faker)


def test_signatures_of_others_are_refused(world: World, faker: Faker) -> None:
    faker.sign = RSAKey.generate_key(2048, {"kid": "one"})
    with pytest.raises(NotLetIn):
        log_in(world, faker)
    faker.sign, faker.header = OctKey.import_key(SECRET.encode() * 2), {"alg": "HS256", "kid": "one"}
    with pytest.raises(NotLetIn):  # a secret that we know, too, says nothing of who signed
        log_in(world, faker)
    public = faker.key.as_pem(private=False)
    body = {"iss": ISSUER}
    faker.answer = {"id_token": _hs256(public, body)}
    with pytest.raises(NotLetIn):  # its public key taken for a shared secret
        log_in(world, faker)


def _hs256(key: bytes, claims: dict[str, Any]) -> str:
    import hmac

    parts = [
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "HS256", "kid": "one"}, claims)
    ]
    digest = hmac.digest(key, ".".join(parts).encode(), "sha256")
    return ".".join([*parts, urlsafe_b64encode(digest).decode().rstrip("=")])


@pytest.mark.parametrize("token", ["", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0.", "x" * 100_000, None, 7])
def test_garbage_is_no_token(world: World, faker: Faker, token: object) -> None:
    faker.answer = {"id_token": token}
    with pytest.raises(NotLetIn):
        log_in(world, faker)


def test_a_new_key_is_looked_for_once_a_minute_at_most(world: World, faker: Faker) -> None:
    oidc = OidcLogin(world.people._core, world.people.sessions, settings(), faker)
    log_in(world, faker, oidc)
    assert faker.asked.count(f"{ISSUER}/jwks") == 1
    faker.key = ECKey.generate_key("P-256", {"kid": "two"})
    faker.keys, faker.header = [faker.key], {"alg": "ES256", "kid": "two"}
    for _ in range(3):
        with pytest.raises(NotLetIn):
            log_in(world, faker, oidc)
    assert faker.asked.count(f"{ISSUER}/jwks") == 1
    world.later(MINUTE + 1)
    assert log_in(world, faker, oidc)
    assert faker.asked.count(f"{ISSUER}/jwks") == 2
    world.later(HOUR + 1)
    assert log_in(world, faker, oidc)
    assert faker.asked.count(f"{ISSUER}/jwks") == 3


def test_what_comes_back_must_fit_this_browser(world: World, faker: Faker) -> None:
    for back in ({"state": "x"}, {"iss": "https://evil.example.org"}, {"error": "access_denied"}, {"code": ""}):
        with pytest.raises(NotLetIn):
            log_in(world, faker, **back)
    assert f"{ISSUER}/token" not in faker.asked
    oidc = OidcLogin(world.people._core, world.people.sessions, settings(), faker)
    for cookie in ("", "oidc-", "oidc-" + "A" * 42, world.enter("ann")):
        with pytest.raises(NotLetIn, match="not begun in this browser"):
            oidc.finish({"code": "c", "state": ""}, cookie, REDIRECT, "10.0.0.1")


def test_what_somebody_may_follows_the_provider(world: World, faker: Faker) -> None:
    oidc = OidcLogin(world.people._core, world.people.sessions, settings(), faker)
    cookie = log_in(world, faker, oidc)
    faker.claims = {"groups": "wardline-admins", "preferred_username": "renamed", "name": "A\u202enna"}
    again = log_in(world, faker, oidc)
    assert world.people.session(cookie) is None
    who = world.who(again)
    assert (who.name, who.display, who.grants) == ("anna@login.example.org", "Anna", (Grant(Role.ADMIN),))
    faker.claims = {"groups": []}
    with pytest.raises(NotLetIn):
        log_in(world, faker, oidc)


def test_two_of_one_name_are_two(world: World, faker: Faker) -> None:
    oidc = OidcLogin(world.people._core, world.people.sessions, settings(), faker)
    first = world.who(log_in(world, faker, oidc))
    faker.claims = {"sub": "another anna"}
    second = world.who(log_in(world, faker, oidc))
    assert first.name == "anna@login.example.org"
    assert re.fullmatch(r"anna-[0-9a-f]{8}@login\.example\.org", second.name)
    faker.claims = {"sub": "ann", "preferred_username": "ann"}  # somebody is called so here
    assert world.who(log_in(world, faker, oidc)).name == "ann@login.example.org"


def test_who_comes_from_a_provider_has_no_password_here(world: World, faker: Faker) -> None:
    log_in(world, faker)
    with pytest.raises(NotLetIn):
        world.people.login.password("anna@login.example.org", "", "10.0.0.1", "")
    with pytest.raises(Exception, match="nothing can be reset here"):
        world.people.persons.reset(ROOT, "anna@login.example.org")


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("value", ["http://login.example.org/x", "file:///etc/passwd", None, 7])
def test_a_discovery_document_that_leads_elsewhere_is_refused(world: World, faker: Faker, name: str, value: object) -> None:
    faker.discovery[name] = value
    with pytest.raises(Away):
        log_in(world, faker)


# ── asking over the network ────────────────────────────────────────────────────────────────────────────────────────


class Odd(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("location", "/good")
        else:
            self.send_response(503 if self.path == "/503" else 200)
        self.end_headers()
        bodies = {"/good": b'{"a": 1}', "/list": b"[1]", "/garbage": b"\xff<html>", "/503": b"secret"}
        try:
            self.wfile.write(bodies.get(self.path, b""))
            if self.path == "/endless":
                while True:
                    self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def log_message(self, *about: Any) -> None:
        pass


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_answers_are_read(odd: str) -> None:
    assert fetch(f"{odd}/good") == {"a": 1}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/redirect", "status 302"),
        ("/503", "status 503"),
        ("/list", "expected"),
        ("/garbage", "no JSON"),
        ("/endless", "too long"),
    ],
)
def test_odd_answers_are_refused_without_repeating_them(odd: str, path: str, text: str) -> None:
    with pytest.raises(Away, match=text) as refused:
        fetch(f"{odd}{path}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "https://127.0.0.1:1/", "http://127.0.0.1:1/"])
def test_what_cannot_be_reached_is_said(url: str) -> None:
    with pytest.raises(Away, match=r"cannot be reached|no web address"):
        fetch(url)
