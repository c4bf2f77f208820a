"""What goes over the wire for an HTTP delivery, and what hostile answers come to."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from engine.connectors.http import RequestOptions
from engine.connectors.http.destination import HttpDestination
from engine.connectors.http.link import BODY_KEPT
from engine.model import Busy, Delivered, Delivery, Misconfigured, Outcome, Refused, Unknown
from engine.testing import world as worlds
from engine.testing.world import World, turn, until
from tests.contract.connectors.http_peers import WebService


def charge(number: int = 1, **changes: Any) -> Delivery:
    return worlds.delivery(b'{"quantity": %d}' % number, number, "application/json")._replace(**changes)


async def pair(**options: Any) -> tuple[World, WebService, HttpDestination]:
    world = World()
    service = await WebService(world.network).start(("billing", 80))
    options = {"url": "http://billing/charges?source=ward"} | options
    return world, service, HttpDestination(RequestOptions(**options), world.runtime, "billing")


async def settled() -> None:
    for _ in range(5):
        await turn()


async def test_the_request() -> None:
    _, service, destination = await pair(method="PUT", auth={"bearer": "t0ken"}, headers={"X-Facility": "Ward 7"})
    assert await destination.send(charge()) == Delivered(b'{"status":"ok"}')
    (request,) = service.requests
    assert (request.method, request.target) == (b"PUT", b"/charges?source=ward")
    headers = dict(request.headers.raw_items())
    assert headers.pop(b"User-Agent").startswith(b"wardline/")
    assert headers == {
        b"Host": b"billing",
        b"Accept": b"*/*",
        b"Authorization": b"Bearer t0ken",
        b"X-Facility": b"Ward 7",
        b"Content-Type": b"application/json",
        b"Content-Length": b"15",
        b"Idempotency-Key": b"8000000000-1",
    }
    assert service.received == [charge().content]
    await destination.stop()


async def test_user_and_password() -> None:
    _, service, destination = await pair(auth={"basic": {"user": "ward", "password": "Zürich:1"}})
    await destination.send(charge())
    assert (b"authorization", b"Basic d2FyZDpaw7xyaWNoOjE=") in service.requests[0].headers
    await destination.stop()


async def test_every_attempt_has_the_same_idempotency_key() -> None:  # I4
    _, service, destination = await pair()
    service.mood = "reset"
    assert type(await destination.send(charge())) is Unknown
    service.mood = "accept"
    assert type(await destination.send(charge(attempts=2))) is Delivered
    keys = [dict(request.headers)[b"idempotency-key"] for request in service.requests]
    assert keys == [b"8000000000-1"] * 2
    await destination.stop()


async def test_nothing_in_a_delivery_can_add_a_header() -> None:  # I14
    _, service, destination = await pair()
    hostile = "1\r\nX-Injected: yes\r\n\r\nGET / HTTP/1.1 \u00fc\0"
    await destination.send(charge(identity=hostile, content_type="text/plain\r\nX-Too: yes"))
    headers = dict(service.requests[0].headers)
    assert b"x-injected" not in headers
    assert b"x-too" not in headers
    assert headers[b"idempotency-key"] == b"1%0D%0AX-Injected: yes%0D%0A%0D%0AGET / HTTP/1.1 %C3%BC%00"
    assert len(service.requests) == 1
    await destination.stop()


async def test_a_connection_is_kept_and_one_that_the_peer_closed_while_idle_is_made_again() -> None:
    _, service, destination = await pair()
    for number in range(3):
        assert type(await destination.send(charge(number))) is Delivered
    assert service.made == 1
    service.open[0].transport.loseConnection()
    await settled()
    assert type(await destination.send(charge(9))) is Delivered
    assert service.made == 2
    await destination.stop()


async def test_a_kept_connection_is_not_used_when_the_peer_is_about_to_close_it() -> None:
    world, service, destination = await pair()
    service.script = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"] * 3
    await destination.send(charge(1))
    world.clock.advance(3.9)
    await destination.send(charge(2))
    assert service.made == 1
    world.clock.advance(4.1)
    await destination.send(charge(3))
    assert service.made == 2
    await destination.stop()


async def answered(raw: bytes, then: str = "") -> tuple[Outcome, WebService, HttpDestination]:
    _, service, destination = await pair()
    service.script = [raw]
    sending = ensureDeferred(destination.send(charge()))
    await until("the request", lambda: service.requests)
    await settled()
    if then == "close" and service.open:
        service.open[0].transport.loseConnection()
    elif then == "reset" and service.open:
        service.open[0].transport.abortConnection()
    outcome = await sending
    await settled()
    return outcome, service, destination


OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS: list[tuple[bytes, str, Any, int]] = [
    # raw answer, what the peer does then, outcome, connections left
    (OK + b"Content-Length: 2\r\n\r\nhi", "", Delivered(b"hi"), 1),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "", Delivered(b"hi"), 1),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "", Delivered(b""), 1),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", "", Delivered(b""), 1),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 422 X\r\nContent-Length: 0\r\n\r\n", "", Refused, 1),
    (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", "", Delivered(b"hi"), 0),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "", Delivered(b"hi"), 0),
    (OK + b"\r\nuntil the end", "close", Delivered(b"until the end"), 0),
    (OK + b"\r\nuntil the", "reset", Unknown, 0),
    (OK + b"Content-Length: 20\r\n\r\ncut", "close", Unknown, 0),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n20\r\ncut", "close", Unknown, 0),
    (OK + b"Content-Le", "close", Unknown, 0),
    (b"", "close", Unknown, 0),
    (b"", "reset", Unknown, 0),
    (OK + b"Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", Delivered(b"hi"), 0),
    (OK + b"Content-Length: 2\r\n\r\nhi, and more", "", Delivered(b"hi"), 0),
    (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "", Unknown, 0),
    (OK + b"Content-Length: -1\r\n\r\n", "", Unknown, 0),
    (OK + b"Content-Length: +5\r\n\r\n", "", Unknown, 0),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "", Unknown, 0),
    (b"HTTP/9.9 200 OK\r\n\r\n", "", Unknown, 0),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "", Unknown, 0),
    (b"200 OK\r\n\r\n", "", Unknown, 0),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "", Unknown, 0),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: mllp\r\nConnection: upgrade\r\n\r\n", "close", Unknown, 0),
    (OK + b"X-Long: " + b"x" * 70_000, "", Unknown, 0),
    (OK + b"X-Many: x\r\n" * 7000, "", Unknown, 0),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, "", Unknown, 0),
    (OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 70_000, "", Delivered(b"x" * BODY_KEPT), 0),
    (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", "", Refused, 1),
    (b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", "", Misconfigured, 1),
    (b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "", Busy("HTTP 429 Too Many Requests", 7), 1),
]


@pytest.mark.parametrize("number", range(len(ANSWERS)))
async def test_answers(number: int) -> None:
    raw, then, expected, left = ANSWERS[number]
    outcome, service, destination = await answered(raw, then)
    if isinstance(expected, type):
        assert type(outcome) is expected, outcome
    else:
        assert outcome == expected
        assert type(outcome) is type(expected)
    assert service.connections == left
    await destination.stop()


async def test_an_answer_that_never_ends_is_given_up() -> None:
    world, service, destination = await pair(timeout="20s")
    service.script = [OK + b"Transfer-Encoding: chunked\r\n\r\n"]
    sending = ensureDeferred(destination.send(charge()))
    await until("the request", lambda: service.requests)
    for _ in range(19):  # a drop at a time
        service.open[0].transport.write(b"1\r\nx\r\n")
        await settled()
        world.clock.advance(1)
    assert not sending.called
    world.clock.advance(1)
    assert await sending == Unknown("no answer within 20s")
    await destination.stop()


async def test_an_answer_that_nobody_asked_for_is_never_credited() -> None:
    _, service, destination = await pair()
    await destination.send(charge(1))
    service.late()  # an unasked 200
    await settled()
    assert service.connections == 0
    service.mood = "refuse"
    assert type(await destination.send(charge(2))) is Refused
    await destination.stop()


async def test_a_ca_file_that_is_not_there_is_a_fault_of_configuration() -> None:
    world = World()
    options = RequestOptions(url="https://billing/", tls={"ca": "nowhere/ca.pem"})
    destination = HttpDestination(options, world.runtime, "billing")
    assert await destination.send(charge()) == Misconfigured("tls: ca: nowhere/ca.pem cannot be read: No such file or directory")
    assert "nowhere/ca.pem" in await destination.check()
    await destination.stop()
