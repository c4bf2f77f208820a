"""One kept-alive HTTP/1.1 connection: requests out, answers in, parsed by llhttp (RFC 9112)."""

from __future__ import annotations

from typing import Any, NamedTuple

import httptools
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from engine.links import Link, Links
from engine.model import Misconfigured, Unknown

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024  # read at most so much of an answer: its status has already said what it means
BODY_KEPT = 4 * 1024


class Answer(NamedTuple):
    status: int
    body: bytes  # its beginning
    retry_after: str
    reusable: bool  # the connection may serve another request


class HttpLink(Link[Answer]):
    """Parses what comes while a request is out. Bytes that nobody asked for cost the connection."""

    def __init__(self, links: Links[HttpLink], kept: int = BODY_KEPT) -> None:
        super().__init__(links)
        self._kept = kept
        self._parser: Any = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._body: list[bytes] = []
        self._body_size = self._head_size = 0
        self._retry_after = ""
        self._delimited = self._in_body = self._complete = self._reusable = self._surplus = False
        self._status = 0

    def dataReceived(self, data: bytes) -> None:
        if not self.waiting:
            self.spoil()
            return
        if not self._in_body:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            if not self._complete:
                self._fail(f"the answer is no HTTP/1.1 ({type(problem).__name__})")
                return
            self._surplus = True
        if self._complete or self._body_size > BODY_LIMIT:
            self._finish()
        elif not self._in_body and self._head_size > HEAD_LIMIT:
            self._fail("the answer's headers are too large")

    def ended(self, reason: Failure) -> Answer | Unknown | Misconfigured:
        if self._in_body and not self._delimited and isinstance(reason.value, ConnectionDone):
            return Answer(self._status, b"".join(self._body)[: self._kept], self._retry_after, False)  # RFC 9112 §6.3, case 8
        if self._status:
            return Unknown(f"the answer was cut short after its status {self._status}")
        return super().ended(reason)

    def _finish(self) -> None:
        reusable = self._complete and self._reusable and not self._surplus
        answer = Answer(self._status, b"".join(self._body)[: self._kept], self._retry_after, reusable)
        if reusable:
            self._begin()
        else:
            self.spoil()
        self.answered(answer)

    def _fail(self, why: str) -> None:
        self.spoil()
        self.answered(Unknown(why))

    # ── llhttp's callbacks ──

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete:
            return
        lowered = name.lower()
        if lowered in (b"content-length", b"transfer-encoding"):
            self._delimited = True
        elif lowered == b"retry-after":
            self._retry_after = value.decode("latin-1")
        elif lowered == b"keep-alive":
            # `timeout=5` (RFC 2068 §19.7.1.1): leave a second, so that our request and its closing do not cross.
            seconds = value.partition(b"timeout=")[2].partition(b",")[0].strip()
            if seconds.isdigit():
                self.idle_limit = max(float(seconds) - 1.0, 0.001)

    def on_headers_complete(self) -> None:
        if not self._complete:
            self._status = self._parser.get_status_code()
            self._in_body = self._status >= 200

    def on_body(self, data: bytes) -> None:
        if self._complete:
            return
        self._body_size += len(data)
        if self._body_size - len(data) < self._kept:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come (RFC 9110 §15.2)
            head_size = self._head_size
            self._begin()
            self._head_size = head_size
        elif not self._complete:
            self._complete = True
            self._reusable = bool(self._parser.should_keep_alive())  # answerable only now
