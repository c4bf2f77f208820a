"""Delivers with HTTP requests. Small on purpose: a fixed URL, a body with a length, a status that says it all."""

from __future__ import annotations

import base64
import re
import ssl

from engine import __version__
from engine.connectors.http import RequestOptions, parse_url
from engine.connectors.http.link import Answer, HttpLink
from engine.connectors.http.outcome import outcome_of
from engine.contracts import Runtime
from engine.links import Links, why
from engine.model import Delivery, Misconfigured, Outcome, Unknown, Unreached

_UNSAFE = re.compile(rb"[^\x21-\x7e ]")


class HttpDestination:
    """`contracts.Destination`. The delivery's identity travels as `Idempotency-Key`, the same on every attempt."""

    def __init__(self, options: RequestOptions, runtime: Runtime, name: str) -> None:
        self.concurrency = options.connections
        self._runtime, self._options = runtime, options
        self._target = parse_url(options.url)
        self._head = _head(options)
        self._links: Links[HttpLink] | None = None

    async def send(self, delivery: Delivery) -> Outcome:
        try:
            links = self._links or self._open()
            link = await links.take()
        except ssl.SSLCertVerificationError as problem:
            return Misconfigured(why(problem))
        except _Unreadable as problem:
            return Misconfigured(str(problem))
        except OSError as problem:
            return Unreached(f"not connected: {why(problem)}")
        content = delivery.content
        request = b"%bContent-Type: %b\r\nContent-Length: %d\r\nIdempotency-Key: %b\r\n\r\n%b" % (
            self._head, _value(delivery.content_type), len(content), _value(delivery.identity), content,
        )  # fmt: skip
        answer = await link.exchange(request, self._options.timeout)
        if isinstance(answer, Unknown):
            return answer
        if answer.reusable:
            links.give(link)
        return self._judge(answer)

    def _judge(self, answer: Answer) -> Outcome:
        return outcome_of(answer.status, answer.body, answer.retry_after, self._runtime.now())

    def _open(self) -> Links[HttpLink]:
        """Made at the first use: reading the system's certificate authorities takes a while."""
        tls = None
        if self._target.secure:
            try:
                tls = ssl.create_default_context(cafile=self._options.ca or None)
            except OSError as problem:
                raise _Unreadable(f"ca: {self._options.ca} cannot be read: {why(problem)}") from None
        self._links = Links(self._runtime, HttpLink, self._target.address, self._options.connect_timeout, tls)
        return self._links

    async def check(self) -> str:
        try:
            return await (self._links or self._open()).probe()
        except _Unreadable as problem:
            return str(problem)

    async def stop(self) -> None:
        if self._links is not None:
            await self._links.stop()


class _Unreadable(Exception):
    """The file named by `ca`."""


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
    elif options.auth is not None:
        lines.append(f"Authorization: Bearer {options.auth.bearer.get_secret_value()}")
    lines += [f"{name}: {value.get_secret_value()}" for name, value in options.headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode("ascii")
