"""What stands before every door: headers, sessions, CSRF, rights, limits. What is not allowed is denied."""

from __future__ import annotations

import hmac
from collections import Counter, OrderedDict
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.console.answers import Denied, NotFound, TooMuch, Unknown
from engine.console.doors import API, Door
from engine.console.doors import Scope as DoorScope
from engine.console.home import Home
from engine.console.rights import Right, Who
from engine.console.visit import Visit
from engine.query import message_id

COOKIE: Final = "__Host-wardline"
IN_FLIGHT: Final = 8  # requests of one person at once
PER_SECOND: Final = 30.0  # requests of one person, over time
BURST: Final = 300.0
SAFE: Final = ("GET", "HEAD")  # methods that change nothing

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}


class Headers:
    """Puts what browsers must know on every answer, whatever gave it."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._headers = HEADERS | ({"strict-transport-security": "max-age=31536000"} if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)


class Turnstile:
    """How much of one person goes on at once, and over time. For the loop's thread alone."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._inside: Counter[str] = Counter()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted
        self._told: OrderedDict[str, None] = OrderedDict()  # who heard last that it is too much

    def enter(self, who: str) -> None:
        """Raises TooMuch."""
        now = self._clock()
        tokens, at = self._left.pop(who, (BURST, now))
        tokens = min(BURST, tokens + (now - at) * PER_SECOND)
        self._left[who] = (max(tokens - 1, 0), now)
        while len(self._left) > 10_000:
            self._left.popitem(last=False)
        if tokens < 1:
            raise self._refusal(who, "You ask more often than this console answers: wait a moment.", 5)
        self.stay(who, IN_FLIGHT)
        self._told.pop(who, None)

    def stay(self, who: str, most: int) -> None:
        """One more that goes on, of at most so many. Raises TooMuch."""
        if self._inside[who] >= most:
            raise self._refusal(who, f"{most} of your requests are under way already: wait for one of them.", 1)
        self._inside[who] += 1

    def _refusal(self, who: str, text: str, after: int) -> TooMuch:
        again = who in self._told
        self._told[who] = None
        while len(self._told) > 10_000:
            self._told.popitem(last=False)
        return TooMuch(text, after, again)

    def leave(self, who: str) -> None:
        self._inside[who] -= 1
        if self._inside[who] <= 0:
            del self._inside[who]


def identify(home: Home, request: Request, *, touch: bool) -> tuple[Who | None, str]:
    """Who asks, and the session's secret. A token that is no good is nobody; a page takes sessions only. `touch`: the
    person is there, so that the session does not grow idle."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and request.url.path.startswith(API):
        return home.people.token(bearer.strip()), ""
    secret = request.cookies.get(COOKIE, "")
    return (home.people.session(secret, touch=touch), secret) if secret else (None, "")


def own_origin(request: Request) -> bool:
    """Whether a browser says that the request comes from a page of ours; tools that are no browsers say nothing."""
    origin = request.headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] == request.headers.get("host", "")
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def check_origin(request: Request) -> None:
    """Raises Denied for a change that another site's page asks for."""
    if request.method not in SAFE and not own_origin(request):
        raise Denied("This came from a page of another site.")


def check_csrf(request: Request, who: Who | None, fields: dict[str, Any]) -> None:
    """Takes the token out of `fields`. Raises Denied for a change in a session that does not show it."""
    given = fields.pop("csrf", "") or request.headers.get("x-csrf", "")
    if request.method in SAFE or who is None or who.via != "session":
        return
    if not (isinstance(given, str) and hmac.compare_digest(given.encode(), who.csrf.encode())):
        raise Denied("This form is from another session: load the page again.")


def admit(door: Door, visit: Visit, path: dict[str, Any]) -> None:
    """Raises Unknown, Denied or NotFound unless the door is open to this visit."""
    if door.scope is DoorScope.PUBLIC:
        return
    if not visit.known:
        raise Unknown("Log in first.")
    if door.scope is DoorScope.OWN:
        return
    right = door.right
    assert right is not None
    if visit.who.due:
        raise Denied(f"First set up your {'second factor' if visit.who.due == 'totp' else visit.who.due}: see your account.")
    if door.scope is DoorScope.SITE:
        if not visit.who.everywhere(right):
            raise Denied(f"The right to {right} on every channel is not yours.", right, "*")
    elif door.scope is DoorScope.SOME:
        if not visit.who.somewhere(right):
            raise Denied(f"The right to {right} is not yours on any channel.", right)
    elif door.scope is DoorScope.CHANNEL:
        visit.require(right, path["channel"])
    elif door.scope is DoorScope.MESSAGE:
        visit.require(right, _channel_of(visit, path["id"]))
    else:
        _admit_to_destination(visit, right, path["destination"])


def _channel_of(visit: Visit, text: str) -> str:
    try:
        found = visit.history.channel_of(message_id(text))
    except ValueError as error:
        raise NotFound(f"{error}.") from error
    if not found:
        raise NotFound("There is no message of this id.")
    visit.note(text)
    return found


def _admit_to_destination(visit: Visit, right: Right, destination: str) -> None:
    users = visit.users_of(destination)
    if not users and not visit.who.everywhere(right):
        raise NotFound("There is no destination of this name that you may see.")
    for channel in sorted(users):
        visit.require(right, channel)
