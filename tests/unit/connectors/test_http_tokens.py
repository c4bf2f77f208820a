"""OAuth 2.0 with our own credentials: one token for all, fetched once, and what follows where there is none."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs

import pytest
from twisted.internet.defer import ensureDeferred, gatherResults

from engine.connectors.http import RequestOptions
from engine.connectors.http.destination import HttpDestination
from engine.model import Busy, Delivered, Delivery, Misconfigured, Outcome, Unknown, Unreached
from engine.testing import world as worlds
from engine.testing.world import World, until
from tests.contract.connectors.http_peers import WebService

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


def charge(number: int = 1) -> Delivery:
    return worlds.delivery(b'{"quantity": %d}' % number, number, "application/json")


def raw(status: int, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def granted(token: object = "t1", **more: Any) -> bytes:
    return raw(200, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600} | more).encode())


class Place:
    """A service, the authorization server that gives out its tokens, and a destination."""

    async def open(self, *grants: bytes, **options: Any) -> Place:
        self.world = World()
        self.service = await WebService(self.world.network).start(("billing", 80))
        self.login = await WebService(self.world.network).start(("login", 80))
        self.login.script = list(grants)
        oauth2 = {"token_url": "http://login/token?tenant=7", "client_id": "ward 7", "client_secret": "hush:+"} | options
        given = RequestOptions(url="http://billing/charges", auth={"oauth2": oauth2})
        self.destination = HttpDestination(given, self.world.runtime, "billing")
        return self

    async def send(self, number: int = 1) -> Outcome:
        return await self.destination.send(charge(number))

    def shown(self) -> list[bytes]:
        """The tokens that the service was shown."""
        return [dict(request.headers)[b"authorization"] for request in self.service.requests]

    async def close(self) -> None:
        await self.destination.stop()


async def test_the_request_for_a_token_and_the_one_that_shows_it() -> None:
    place = await Place().open(granted("abc.def"), scope="charges.write audit", audience="billing")
    assert type(await place.send()) is Delivered
    (request,) = place.login.requests
    headers = dict(request.headers)
    assert (request.method, request.target) == (b"POST", b"/token?tenant=7")
    assert headers[b"content-type"] == b"application/x-www-form-urlencoded"
    assert b64decode(headers[b"authorization"].removeprefix(b"Basic ")) == b"ward+7:hush%3A%2B"
    form = {"grant_type": ["client_credentials"], "scope": ["charges.write audit"], "audience": ["billing"]}
    assert parse_qs(place.login.received[0].decode()) == form
    assert place.shown() == [b"Bearer abc.def"]
    await place.close()


async def test_name_and_secret_in_the_body() -> None:
    place = await Place().open(granted(), credentials="body")
    await place.send()
    form = {"grant_type": ["client_credentials"], "client_id": ["ward 7"], "client_secret": ["hush:+"]}
    assert parse_qs(place.login.received[0].decode()) == form
    assert b"authorization" not in dict(place.login.requests[0].headers)
    await place.close()


async def test_a_token_is_used_until_shortly_before_its_end() -> None:
    place = await Place().open(granted("t1", expires_in=600), granted("t2", expires_in="600"))
    await place.send(1)
    place.world.clock.advance(569)
    await place.send(2)
    place.world.clock.advance(1)
    await place.send(3)
    assert place.shown() == [b"Bearer t1", b"Bearer t1", b"Bearer t2"]
    await place.close()


async def test_one_request_for_all_who_wait() -> None:
    place = await Place().open(granted("t1"))
    outcomes = await gatherResults([ensureDeferred(place.send(number)) for number in range(8)])
    assert {type(outcome) for outcome in outcomes} == {Delivered}
    assert len(place.login.requests) == 1
    await place.close()


async def test_a_token_that_is_not_accepted_is_fetched_anew_once_and_the_same_request_goes_again() -> None:
    place = await Place().open(granted("t1"), granted("t2"))
    place.service.script = [UNAUTHORIZED, OK]
    assert type(await place.send()) is Delivered
    assert place.shown() == [b"Bearer t1", b"Bearer t2"]
    assert {dict(request.headers)[b"idempotency-key"] for request in place.service.requests} == {b"8000000000-1"}
    await place.close()


async def test_a_new_token_that_is_not_accepted_either_holds_the_destination() -> None:
    place = await Place().open(granted("t1"), granted("t2"), granted("t3"))
    place.service.script = [UNAUTHORIZED] * 5
    outcome = await place.send()
    assert type(outcome) is Misconfigured
    assert "HTTP 401" in outcome.reason
    assert len(place.service.requests) == 2
    await place.close()


async def test_tokens_that_many_were_refused_with_are_fetched_anew_once() -> None:
    place = await Place().open(granted("t1"), granted("t2"), granted("t3"))
    await place.send()
    place.service.script = Revoked(place, b"Bearer t1")
    outcomes = await gatherResults([ensureDeferred(place.send(number)) for number in range(4)])
    assert {type(outcome) for outcome in outcomes} == {Delivered}
    assert len(place.login.requests) == 2
    await place.close()


class Revoked(list[bytes]):
    """A service's script: requests with one token are not authorized, all others are."""

    def __init__(self, place: Place, token: bytes) -> None:
        super().__init__([b"endless"])
        self.place, self.token = place, token

    def pop(self, at: Any = 0) -> bytes:
        return UNAUTHORIZED if self.place.shown()[-1] == self.token else OK


NONE: list[tuple[bytes, Outcome]] = [
    (raw(400, b'{"error": "invalid_scope"}'),
     Misconfigured("no token: HTTP 400 Bad Request, invalid_scope: see auth in the destination's file")),
    (raw(401, b'{"error": "invalid_client", "error_description": "hush"}'),
     Misconfigured("no token: HTTP 401 Unauthorized, invalid_client: see auth in the destination's file")),
    (raw(400, b'{"error": "words of its own"}'), Misconfigured("no token: HTTP 400 Bad Request: see auth in the destination's file")),
    (raw(404, b"<html>"), Misconfigured("no token: HTTP 404 Not Found: see auth in the destination's file")),
    (raw(302, b"", b"Location: http://elsewhere/\r\n"), Misconfigured("no token: HTTP 302 Found: see auth in the destination's file")),
    (raw(503, b"", b"Retry-After: 20\r\n"), Busy("no token: HTTP 503 Service Unavailable", 20)),
    (raw(500, b""), Unreached("no token: HTTP 500 Internal Server Error")),
    (raw(200, b"<html>sign in</html>"), Unreached("no token: the answer holds no access_token")),
    (raw(200, b"[" * 50_000), Unreached("no token: the answer holds no access_token")),
    (raw(200, b'["t1"]'), Unreached("no token: the answer holds no access_token")),
    (granted(7), Unreached("no token: the answer holds no access_token")),
    (granted("t1\r\nX-Injected: yes"), Unreached("no token: the answer holds no access_token")),
    (granted(token_type="mac"), Misconfigured("no token: the one given out is no Bearer token, and no other kind is known here")),
    (b"\x0bMSH|^~\\&|\x1c\r", Unreached("no token: the answer is no HTTP/1.1 (HttpParserInvalidStatusError)")),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NONE)))
async def test_without_a_token_nothing_is_sent(number: int) -> None:
    answer, expected = NONE[number]
    place = await Place().open(answer)
    outcome = await place.send()
    if type(expected) is Unreached and "no HTTP" in expected.reason:
        assert type(outcome) is Unreached
    else:
        assert (type(outcome), outcome) == (type(expected), expected)
    assert place.service.requests == []
    await place.close()


async def test_an_authorization_server_that_is_silent_or_away() -> None:
    place = await Place().open()
    place.login.mood = "silent"
    sending = ensureDeferred(place.send())
    await until("the request for a token", lambda: place.login.requests)
    place.world.clock.advance(30)
    assert await sending == Unreached("no token: no answer within 30s")
    await place.login.stop()
    assert await place.send() == Unreached("no token: not connected: connection refused")
    assert await place.destination.check() == "no token: not connected: connection refused"
    assert place.service.requests == []
    await place.close()


async def test_what_is_sent_with_a_token_is_as_unknown_as_any_other() -> None:
    place = await Place().open(granted())
    place.service.mood = "reset"
    assert type(await place.send()) is Unknown
    await place.close()


async def test_a_long_token_is_taken_whole() -> None:
    place = await Place().open(granted("x" * 20_000))
    assert type(await place.send()) is Delivered
    assert place.shown() == [b"Bearer " + b"x" * 20_000]
    await place.close()
