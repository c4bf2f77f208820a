"""Delivers with HTTP requests. Small on purpose: a fixed URL, a body with a length, a status that says it all."""

from __future__ import annotations

import base64
import re

from engine import __version__
from engine.connectors.http import RequestOptions, parse_url
from engine.connectors.http.link import Answer, HttpLink
from engine.connectors.http.outcome import outcome_of
from engine.connectors.http.tokens import Tokens
from engine.contracts import Runtime
from engine.links import Links, missed
from engine.model import Delivery, Outcome
from engine.tlsclient import ClientTls, Credentials

_UNSAFE = re.compile(rb"[^\x21-\x7e ]")


class HttpDestination:
    """`contracts.Destination`. The delivery's identity travels as `Idempotency-Key`, the same on every attempt."""

    def __init__(self, options: RequestOptions, runtime: Runtime, name: str) -> None:
        self.concurrency = options.connections
        self._runtime, self._options = runtime, options
        self._head = _head(options)
        target, credentials = parse_url(options.url), Credentials(options.tls or ClientTls())
        self._links: Links[HttpLink] = Links(
            runtime, HttpLink, target.address, options.connect_timeout, credentials if target.secure else None
        )
        oauth2 = options.auth.oauth2 if options.auth is not None else None
        self._tokens = Tokens(options, oauth2, runtime, credentials) if oauth2 is not None else None

    async def send(self, delivery: Delivery) -> Outcome:
        if self._tokens is None:
            return self._meant(await self._ask(delivery, self._head))
        token = await self._tokens.get()
        if not isinstance(token, bytes):
            return token
        answer = await self._ask(delivery, _with(token, self._head))
        if isinstance(answer, Answer) and answer.status == 401:  # ended early, or revoked: once more with a new one
            token = await self._tokens.get(spent=token)
            if not isinstance(token, bytes):
                return token
            answer = await self._ask(delivery, _with(token, self._head))
        return self._meant(answer)

    async def _ask(self, delivery: Delivery, head: bytes) -> Answer | Outcome:
        try:
            link = await self._links.take()
        except OSError as problem:
            return missed(problem)
        content = delivery.content
        request = b"%bContent-Type: %b\r\nContent-Length: %d\r\nIdempotency-Key: %b\r\n\r\n%b" % (
            head, _value(delivery.content_type), len(content), _value(delivery.identity), content,
        )  # fmt: skip
        answer = await link.exchange(request, self._options.timeout)
        if isinstance(answer, Answer) and answer.reusable:
            self._links.give(link)
        return answer

    def _meant(self, answer: Answer | Outcome) -> Outcome:
        if not isinstance(answer, Answer):
            return answer
        return outcome_of(answer.status, answer.body, answer.retry_after, self._runtime.now(), self._options.answers)

    async def check(self) -> str:
        problem = await self._links.probe()
        if problem or self._tokens is None:
            return problem
        token = await self._tokens.get()
        return "" if isinstance(token, bytes) else token.reason

    async def stop(self) -> None:
        await self._links.stop()
        if self._tokens is not None:
            await self._tokens.stop()


def _with(token: bytes, head: bytes) -> bytes:
    return b"%bAuthorization: Bearer %b\r\n" % (head, token)


def _value(text: str) -> bytes:
    """Text as a header's value: what could end the line or is not ASCII becomes `%XX`, so that nothing can be injected."""
    raw = text.encode("utf-8", "surrogateescape")
    return raw if not _UNSAFE.search(raw) else _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw)


def _head(options: RequestOptions) -> bytes:
    """The part of every request that is always the same."""
    target = parse_url(options.url)
    lines = [
        f"{options.method} {target.path} HTTP/1.1",
        f"Host: {target.host}",
        f"User-Agent: wardline/{__version__}",
        "Accept: */*",
    ]
    if options.auth is not None and options.auth.basic is not None:
        pair = f"{options.auth.basic.user}:{options.auth.basic.password.get_secret_value()}"
        lines.append(f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    elif options.auth is not None and options.auth.oauth2 is None:
        lines.append(f"Authorization: Bearer {options.auth.bearer.get_secret_value()}")
    lines += [f"{name}: {value.get_secret_value()}" for name, value in options.headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode("ascii")
