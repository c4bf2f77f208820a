"""Tokens of OAuth 2.0 for our own credentials (RFC 6749 §4.4): fetched once for all who wait, kept as long as they are good."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import partial
from typing import Any
from urllib.parse import quote_plus, urlencode

from twisted.internet.defer import Deferred, ensureDeferred

from engine import __version__
from engine.connectors.http import OAuth2, RequestOptions, parse_url
from engine.connectors.http.link import BODY_LIMIT, Answer, HttpLink
from engine.connectors.http.outcome import name_of, outcome_of
from engine.contracts import Runtime
from engine.links import Links, missed
from engine.model import Busy, Misconfigured, Unknown, Unreached
from engine.tlsclient import Credentials

EARLY = 30.0  # seconds before its end, at most a tenth of its life, at which a token is not used any more

_TOKEN = re.compile(r"[\x21-\x7e]+")
_ERRORS = ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope")

NoToken = Unreached | Busy | Misconfigured
"""Why there is none. Nothing was sent to the destination."""


class Tokens:
    """The token of one destination."""

    def __init__(self, options: RequestOptions, oauth2: OAuth2, runtime: Runtime, credentials: Credentials) -> None:
        target = parse_url(oauth2.token_url)
        self._runtime, self._timeout = runtime, options.timeout
        self._request = _request(oauth2)
        self._links: Links[HttpLink] = Links(
            runtime, partial(HttpLink, kept=BODY_LIMIT), target.address, options.connect_timeout,
            credentials if target.secure else None,
        )  # fmt: skip
        self._token = b""
        self._until = 0.0  # on the monotonic clock
        self._waiting: list[Deferred[bytes | NoToken]] = []
        self._fetching: Deferred[None] | None = None

    async def get(self, spent: bytes = b"") -> bytes | NoToken:
        """One that is good; not `spent`, which was not accepted."""
        if self._token and self._token != spent and self._runtime.clock.seconds() < self._until:
            return self._token
        waiting: Deferred[bytes | NoToken] = Deferred()
        self._waiting.append(waiting)
        if self._fetching is None:
            self._fetching = ensureDeferred(self._fetch_for_all())
        return await waiting

    async def stop(self) -> None:
        await self._links.stop()

    async def _fetch_for_all(self) -> None:
        self._token = b""
        try:
            got = await self._fetch()
        except Exception as fault:  # whoever waits must hear
            got = Unreached(f"no token: {type(fault).__name__}")
        waiting, self._waiting, self._fetching = self._waiting, [], None
        for one in waiting:
            one.callback(got)

    async def _fetch(self) -> bytes | NoToken:
        try:
            link = await self._links.take()
        except OSError as problem:
            none = missed(problem)
            return none._replace(reason=f"no token: {none.reason}")
        answer = await link.exchange(self._request, self._timeout)
        if isinstance(answer, Misconfigured):
            return Misconfigured(f"no token: {answer.reason}")
        if isinstance(answer, Unknown):
            return Unreached(f"no token: {answer.reason}")
        if answer.reusable:
            self._links.give(link)
        return self._read(answer)

    def _read(self, answer: Answer) -> bytes | NoToken:
        said = _object(answer.body)
        if answer.status != 200:
            meant = outcome_of(answer.status, b"", answer.retry_after, self._runtime.now())
            error = f", {said['error']}" if said.get("error") in _ERRORS else ""
            reason = f"no token: {name_of(answer.status)}{error}"
            if isinstance(meant, Busy):
                return Busy(reason, meant.after)
            if isinstance(meant, Unknown):
                return Unreached(reason)
            return Misconfigured(f"{reason}: see auth in the destination's file")
        token, kind = said.get("access_token"), said.get("token_type", "Bearer")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return Unreached("no token: the answer holds no access_token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            return Misconfigured("no token: the one given out is no Bearer token, and no other kind is known here")
        life = _seconds(said.get("expires_in"))
        self._until = self._runtime.clock.seconds() + life - min(EARLY, life / 10)
        self._token = token.encode()
        return self._token


def _request(options: OAuth2) -> bytes:
    target = parse_url(options.token_url)
    form = {"grant_type": "client_credentials"}
    form |= {name: value for name, value in (("scope", options.scope), ("audience", options.audience)) if value}
    secret = options.client_secret.get_secret_value()
    head = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.host}",
        f"User-Agent: wardline/{__version__}",
        "Accept: application/json",
        "Content-Type: application/x-www-form-urlencoded",
    ]
    if options.credentials == "header":  # RFC 6749 §2.3.1: each encoded as in a form, then as in RFC 7617
        pair = f"{quote_plus(options.client_id)}:{quote_plus(secret)}"
        head.append(f"Authorization: Basic {b64encode(pair.encode()).decode()}")
    else:
        form |= {"client_id": options.client_id, "client_secret": secret}
    body = urlencode(form)
    head.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("ascii")


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; empty where there is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(expires_in: object) -> float:
    """RFC 6749 §5.1; for ever where it is not said: that it is over shows when it is not accepted."""
    text = str(expires_in)
    return float(text[:9]) if re.fullmatch(r"[0-9]+(\.0*)?", text) else float("inf")
