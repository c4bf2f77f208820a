"""MLLP, the minimal lower layer protocol: bytes in, frames out (HL7 v2.5.1 Implementation Guide, appendix C).

    <SB> content <EB> <CR>        SB = 0x0B, EB = 0x1C, CR = 0x0D

No socket and no clock: limits are parameters, and what is no frame comes out as a `Dropped` naming why. Only EB followed by
CR ends a frame, so that a lone EB is content. An SB directly before `MSH` inside a frame is a sender that began anew:
what came before it never got its end, and is dropped. A tolerant deframer takes it for a frame whose CR was left out, where
it ends in EB; that comes out as `Loose`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SB: Final = 0x0B
START: Final = b"\x0b"
END: Final = b"\x1c\r"
_RESTART: Final = b"\x0bMSH"
JUNK_LIMIT: Final = 64 * 1024  # bytes outside frames, in a row, before the peer is taken for another protocol's
KEPT: Final = 64 * 1024  # bytes of what was dropped that come out with it

JUNK: Final = "JUNK"  # bytes between frames, skipped
NO_SB: Final = "NO_SB"  # bytes that no start block came before or after
RESTARTED: Final = "RESTARTED"  # a frame without its end, followed by another
INCOMPLETE: Final = "INCOMPLETE"  # a frame that the connection's end cut off
FRAME_TOO_LARGE: Final = "FRAME_TOO_LARGE"
TLS_ON_PLAIN: Final = "TLS_ON_PLAIN"
HTTP_ON_MLLP: Final = "HTTP_ON_MLLP"

# RFC 8446 §5.1: handshake (22), legacy version 3.x. RFC 9110 §9.1: the methods; PRI opens HTTP/2 (RFC 9113 §3.4).
_FOREIGN: Final = re.compile(
    rb"(?P<TLS_ON_PLAIN>\x16\x03[\x00-\x04])|(?P<HTTP_ON_MLLP>(?:GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|TRACE|PRI) )"
)
_FOREIGN_STARTS: Final = tuple(
    [b"\x16\x03"] + [word + b" " for word in b"GET POST PUT HEAD DELETE OPTIONS PATCH CONNECT TRACE PRI".split()]
)

# Bytes at the end of the buffer that may turn out to belong to an END or a restart rather than to the content.
_UNDECIDED: Final = re.compile(rb"(?:\x1c|\x0b(?:MS?)?)\Z")
_UNDECIDED_TOLERANT: Final = re.compile(rb"(?:\x1c\n?(?:\x0b(?:MS?)?)?|\x0b(?:MS?)?)\Z")
_LOOSE: Final = re.compile(rb"\x1c\n?\Z")  # an EB whose CR was left out, or written as LF
_LOOSE_AFTER_SEGMENT: Final = re.compile(rb"[\r\n]\x1c\n?\Z")
_TAIL: Final = 8  # bytes that these look at


class Dropped(NamedTuple):
    """Bytes that are no frame. After a fatal one the connection makes no sense any more: close it.

    `size` counts what was dropped; where a limit was passed, it is the limit and one. `content` is its beginning.
    """

    reason: str
    size: int
    fatal: bool = False
    content: bytes = b""


class Loose(bytes):
    """The content of a frame whose EB the sender did not follow by CR."""

    __slots__ = ()


def frame(content: bytes) -> bytes:
    """`content` as it goes over the wire."""
    return START + content + END


class Deframer:
    """Takes chunks as they come, gives the contents of complete frames in order, and what was dropped between them.

    What comes out does not depend on where the chunks were cut (only how much is kept of what was fatal).
    `Loose` comes only out of a tolerant one.
    """

    __slots__ = ("_buffer", "_dead", "_junk", "_max", "_scanned", "_started", "_tolerant", "_undecided")

    def __init__(self, max_frame: int, tolerant: bool = False) -> None:
        self._max = max_frame
        self._tolerant = tolerant
        self._undecided = _UNDECIDED_TOLERANT if tolerant else _UNDECIDED
        self._buffer = bytearray()  # a frame not yet complete, or a few bytes that may yet be another protocol's
        self._scanned = 0  # in these bytes of the buffer there is no END
        self._junk = bytearray()  # skipped since the last frame
        self._started = False  # a start block was seen
        self._dead = False

    @property
    def partial(self) -> bool:
        """Something has begun that has not ended."""
        return bool(self._buffer or self._junk)

    @property
    def started(self) -> bool:
        """A start block was seen."""
        return self._started

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun."""
        return len(self._buffer)

    @property
    def loose(self) -> bool:
        """What is here would be a whole message, were its EB followed by CR; `settle` takes it for one."""
        return self._tolerant and self._buffer[:1] == START and bool(_LOOSE_AFTER_SEGMENT.search(self._buffer[-_TAIL:]))

    def receive(self, data: bytes) -> list[bytes | Dropped]:
        """The frames that `data` completes. Nothing comes any more after a fatal `Dropped`."""
        # Nearly always: one frame, one chunk. Four memchr calls prove it.
        if (
            data[:1] == START and data[-1:] == b"\r" and data.find(0x1C) == len(data) - 2 and data.rfind(SB) == 0
            and len(data) - 3 <= self._max and not self._buffer and not self._junk and not self._dead
        ):  # fmt: skip
            self._started = True
            return [data[1:-2]]
        if self._dead:
            return []
        self._buffer += data
        events: list[bytes | Dropped] = []
        while self._step(events):
            pass
        return events

    def settle(self) -> list[bytes | Dropped]:
        """Nothing has come for a while, or will: a frame that lacks only its CR is whole."""
        if not self.loose:
            return []
        found = _LOOSE.search(self._buffer, len(self._buffer) - 2)
        assert found is not None
        content = Loose(memoryview(self._buffer)[1 : found.start()])
        self._buffer.clear()
        self._scanned = 0
        return [content]

    def skip(self) -> list[bytes | Dropped]:
        """Nothing has come for a while: junk is only junk, not the beginning of anything."""
        if self._buffer[:1] == START or not self._started:
            return []
        return self._flush_junk()

    def close(self) -> list[bytes | Dropped]:
        """The connection has ended: what is left is nobody's."""
        events: list[bytes | Dropped] = []
        if not self._dead and self.partial:
            buffer = self._buffer
            if buffer[:1] == START:
                events.append(Dropped(INCOMPLETE, len(buffer) - 1, content=bytes(buffer[1 : KEPT + 1])))
            else:
                junk = bytes(self._junk + buffer)
                events.append(Dropped(JUNK if self._started else NO_SB, len(junk), content=junk[:KEPT]))
        self._kill()
        return events

    def _step(self, events: list[bytes | Dropped]) -> bool:
        """Take one frame or one stretch of junk out of the buffer; False when more bytes are needed."""
        if not self._buffer:
            return False
        if self._buffer[0] != SB:
            return self._skip(events)
        if self._junk:
            events += self._flush_junk()
        self._started = True
        return self._take(events)

    def _take(self, events: list[bytes | Dropped]) -> bool:
        buffer = self._buffer
        end = buffer.find(END, self._scanned)
        restart = buffer.find(_RESTART, max(1, self._scanned), end if end >= 0 else len(buffer))
        if restart >= 0:
            stop, loose = self._before(restart)
        elif end >= 0:
            stop = end
        else:
            found = self._undecided.search(buffer, max(1, len(buffer) - _TAIL))
            stop = found.start() if found else len(buffer)
        if stop - 1 > self._max:
            return self._fail(events, FRAME_TOO_LARGE, self._max + 1, bytes(buffer[1 : KEPT + 1]))
        if restart >= 0:
            if loose:
                events.append(Loose(memoryview(buffer)[1:stop]))
            else:
                events.append(Dropped(RESTARTED, stop - 1, content=bytes(buffer[1 : min(stop, KEPT + 1)])))
            del buffer[:restart]
        elif end >= 0:
            events.append(bytes(memoryview(buffer)[1:end]))
            del buffer[: end + 2]
        else:
            self._scanned = max(1, len(buffer) - len(_RESTART) + 1)
            return False
        self._scanned = 0
        return True

    def _before(self, restart: int) -> tuple[int, bool]:
        """Where the content before a restart ends, and whether an EB without its CR ended it."""
        if self._tolerant and (found := _LOOSE.search(self._buffer, max(1, restart - 2), restart)):
            return found.start(), True
        return restart, False

    def _skip(self, events: list[bytes | Dropped]) -> bool:
        buffer = self._buffer
        if not self._junk:
            # CR and LF after a frame are common and harmless.
            if blank := len(buffer) - len(buffer.lstrip(b"\r\n")):
                del buffer[:blank]
                return True
            if not self._started:
                if found := _FOREIGN.match(buffer):
                    return self._fail(events, str(found.lastgroup), len(buffer), bytes(buffer[:KEPT]))
                if len(buffer) < 8 and any(start.startswith(bytes(buffer)) for start in _FOREIGN_STARTS):
                    return False
        start = buffer.find(SB)
        skipped = len(buffer) if start < 0 else start
        self._junk += buffer[:skipped]
        del buffer[:skipped]
        if len(self._junk) > JUNK_LIMIT:
            return self._fail(events, JUNK if self._started else NO_SB, JUNK_LIMIT + 1, bytes(self._junk[:KEPT]))
        return True

    def _flush_junk(self) -> list[bytes | Dropped]:
        if not self._junk:
            return []
        dropped = Dropped(JUNK, len(self._junk), content=bytes(self._junk[:KEPT]))
        self._junk = bytearray()
        return [dropped]

    def _fail(self, events: list[bytes | Dropped], reason: str, size: int, content: bytes) -> bool:
        events.append(Dropped(reason, size, True, content))
        self._kill()
        return False

    def _kill(self) -> None:
        self._dead = True
        self._scanned = 0
        self._junk = bytearray()
        self._buffer = bytearray()
