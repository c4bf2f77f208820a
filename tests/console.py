"""A console on a real site and a real store, for tests of its pages.

with opened(tmp_path) as console:
    message = console.send("charges", content)            # taken, translated, queued
    console.deliver("billing-api", Delivered(b"..."))      # what waits there is sent, with this outcome
    page = console.as_("operator").get("/messages")
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2 as httpx
from starlette.testclient import TestClient

from engine.app import make_runtime
from engine.config import load_site
from engine.console.app import make_app
from engine.console.home import Home
from engine.console.people import Actor, People
from engine.console.people.passwords import Passwords
from engine.console.rights import RIGHTS, Grant, Right, Role
from engine.contracts import Site
from engine.events import silent
from engine.model import Action, Admission, Message, MessageState, Outcome, Settlement, Verb
from engine.operations.alone import _Clock, done
from engine.pipeline.keeper import facts_of
from engine.pipeline.retry import decide
from engine.pipeline.translate import translate
from engine.store import open_store

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples" / "hl7v2"
PASSWORD = "gravel lantern otter quilt"
VARIABLES = {"BILLING_TOKEN": "unused"}


class Opened:
    """A site in a directory, its store open for writing as an engine would have it, and the console on both."""

    def __init__(self, directory: Path, app_of: Callable[[Home], Any] = make_app) -> None:
        os.environ.update(VARIABLES)
        self.directory = directory
        self.site: Site = load_site(directory)
        self.url = f"sqlite:///{directory / self.site.store.removeprefix('sqlite:///')}"
        (directory / "data").mkdir(exist_ok=True)
        self.runtime = make_runtime(cast(Any, _Clock()), cast(Any, None), silent)
        self.store, _ = open_store(self.url, self.runtime, _fail, threaded=False)
        self._channels = {channel.name: channel for channel in self.site.channels}
        self._retries = {spec.name: spec.retry for spec in self.site.destinations}
        self.people = People(directory, self.runtime.now, passwords=Passwords(1, 8))
        site = self.site
        self.home = Home(
            directory,
            self.url,
            self.people,
            organization=site.organization,
            environment=site.environment,
            timezone=site.timezone,
        )
        self.app = app_of(self.home)
        self._clients: list[httpx.Client] = []
        self._client = TestClient(self.app, base_url="https://testserver", raise_server_exceptions=False)
        self._client.__enter__()

    # ── what happens in the engine ─────────────────────────────────────────────────────────────────────────────────

    def send(self, channel: str, content: bytes, *, state: MessageState = MessageState.RECEIVED, reason: str = "") -> int:
        """Take a message as intake does, and translate it where it was accepted. Its id."""
        about = self._channels[channel]
        heading = about.format.heading(content)
        now = self.runtime.now()
        digest = hashlib.sha256(content).digest()
        key = hashlib.sha256(repr((channel, heading.sender, heading.control_id)).encode()).digest()[:16]
        admission = Admission(channel, content, "10.1.2.3:40000", heading, now, digest, state, reason, key)
        taken = done(self.store.take(admission))
        if taken.duplicate or state is not MessageState.RECEIVED:
            return cast(int, taken.message_id)
        self.translate(channel, Message(taken.message_id, channel, content, heading, admission.peer, taken.received_at))
        return cast(int, taken.message_id)

    def sample(self, channel: str, name: str) -> int:
        """As `send`, a file of samples/hl7v2."""
        return self.send(channel, (SAMPLES / name).read_bytes())

    def translate(self, channel: str, message: Message) -> None:
        about = self._channels[channel]
        done(self.store.translated([translate(about, message, facts_of(self.site, about), self.site.version)]))

    def retranslate(self) -> int:
        """Translate whatever waits for it: released and replayed messages. How many."""
        count = 0
        for channel in self._channels:
            while waiting := done(self.store.untranslated(channel, 0, 100)):
                for message in waiting:
                    self.translate(channel, message)
                    count += 1
        return count

    def deliver(self, destination: str, outcome: Outcome, most: int = 100) -> int:
        """Attempt what is due there, each with this outcome, decided upon as the engine decides. How many."""
        begun = done(self.store.take_due(destination, most, 16))
        now = self.runtime.now()
        settled = [
            Settlement(one, outcome, decide(self._retries[destination], one, outcome, now, 0.5), now, now + 12_000)
            for one in begun
        ]
        done(self.store.attempted(settled))
        return len(begun)

    def act(self, verb: Verb, who: str = "ann", messages: tuple[int, ...] = (), deliveries: tuple[int, ...] = ()) -> Any:
        token = os.urandom(8).hex()
        return done(self.store.act(Action(token, verb, who, "", messages, deliveries)))

    # ── who looks ──────────────────────────────────────────────────────────────────────────────────────────────────

    def as_(self, role: str, channels: str = "*", name: str = "") -> Client:
        """A browser in which somebody with this role is logged in."""
        name = name or f"{role}-{len(self._clients)}"
        client = Client(self.app, self.people, self.let_in(name, Grant(Role(role), channels)))
        self._clients.append(client.http)
        return client

    def token(self, role: str, channels: str = "*") -> httpx.Client:
        """A program that shows a token of somebody with this role."""
        name = f"{role}-{len(self._clients)}"
        self.let_in(name, Grant(Role(role), channels))
        rights = RIGHTS[Role(role)] - {Right.PEOPLE}
        secret, _ = self.people.tokens.make(Actor(name, "local"), "tests", rights, channels, 1, name)
        client = TestClient(self.app, base_url="https://testserver", raise_server_exceptions=False)
        client.headers["authorization"] = f"Bearer {secret}"
        self._clients.append(client)
        return client

    def let_in(self, name: str, *grants: Grant) -> str:
        """Somebody new, logged in by password. The session's secret."""
        people = self.people
        invitation = people.persons.add(Actor("tests", "local"), name, name.title(), grants)
        people.persons.accept(invitation, PASSWORD, "127.0.0.1")
        return people.login.password(name, PASSWORD, "127.0.0.1", "tests").cookie

    def nobody(self) -> httpx.Client:
        return TestClient(self.app, base_url="https://testserver", raise_server_exceptions=False, follow_redirects=False)

    def close(self) -> None:
        self._client.__exit__(None, None, None)
        done(self.store.close())


class Client:
    """A session: `get`, and `post` with its CSRF token and our own origin."""

    def __init__(self, app: Any, people: People, secret: str) -> None:
        from engine.console.guard import COOKIE

        self.http = TestClient(app, base_url="https://testserver", raise_server_exceptions=False, follow_redirects=False)
        self.http.cookies.set(COOKIE, secret)
        self._people, self._secret = people, secret

    def get(self, path: str, **about: Any) -> httpx.Response:
        return self.http.get(path, **about)

    def fragment(self, path: str, **about: Any) -> httpx.Response:
        return self.http.get(path, headers={"hx-request": "true"}, **about)

    @property
    def csrf(self) -> str:
        who = self._people.session(self._secret, touch=False)
        assert who is not None
        return who.csrf

    def post(self, path: str, data: dict[str, Any] | None = None, **about: Any) -> httpx.Response:
        headers = {"origin": "https://testserver", **about.pop("headers", {})}
        return self.http.post(path, data={**(data or {}), "csrf": self.csrf}, headers=headers, **about)


def copy_site(directory: Path) -> Path:
    """The repository's own site, in a place of its own."""
    for name in ("conf", "channels", "mappings", "samples"):
        shutil.copytree(ROOT / name, directory / name)
    return directory


@contextmanager
def opened(directory: Path, *, site: Callable[[Path], Path] = copy_site) -> Iterator[Opened]:
    """`site` puts the site's files into the directory: the repository's own without it."""
    console = Opened(site(directory))
    try:
        yield console
    finally:
        console.close()


def _fail(failure: Exception) -> None:
    raise failure
