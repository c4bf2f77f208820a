"""MLLP, the minimal lower layer protocol: bytes in, frames out (HL7 v2.5.1 Implementation Guide, appendix C).

    <SB> content <EB> <CR>        SB = 0x0B, EB = 0x1C, CR = 0x0D

No socket and no clock: limits are parameters, and what is no frame comes out as a `Dropped` naming why. Only EB followed by
CR ends a frame, so that a lone EB is content. An SB directly before `MSH` inside a frame is a sender that began anew:
what came before it never got its end, and is dropped.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SB: Final = 0x0B
START: Final = b"\x0b"
END: Final = b"\x1c\r"
_RESTART: Final = b"\x0bMSH"
JUNK_LIMIT: Final = 64 * 1024  # bytes outside frames, in a row, before the peer is taken for another protocol's

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


class Dropped(NamedTuple):
    """Bytes that are no frame. After a fatal one the connection makes no sense any more: close it.

    `size` counts what was dropped; where a limit was passed, it is the limit and one.
    """

    reason: str
    size: int
    fatal: bool = False


def frame(content: bytes) -> bytes:
    """`content` as it goes over the wire."""
    return START + content + END


def _undecided(buffer: bytearray) -> int:
    """How many bytes at the end may turn out to belong to an END or a restart rather than to the content."""
    for length in range(min(len(_RESTART) - 1, len(buffer) - 1), 0, -1):
        tail = buffer[-length:]
        if _RESTART.startswith(bytes(tail)) or END.startswith(bytes(tail)):
            return length
    return 0


class Deframer:
    """Takes chunks as they come, gives the contents of complete frames in order, and what was dropped between them.

    What comes out does not depend on where the chunks were cut.
    """

    __slots__ = ("_buffer", "_dead", "_junk", "_max", "_scanned", "_started")

    def __init__(self, max_frame: int) -> None:
        self._max = max_frame
        self._buffer = bytearray()  # a frame not yet complete, or a few bytes that may yet be another protocol's
        self._scanned = 0  # in these bytes of the buffer there is no END
        self._junk = 0  # bytes skipped since the last frame
        self._started = False  # a start block was seen
        self._dead = False

    @property
    def partial(self) -> bool:
        """Something has begun that has not ended."""
        return bool(self._buffer or self._junk)

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

    def close(self) -> list[bytes | Dropped]:
        """The connection has ended: what is left is nobody's."""
        events: list[bytes | Dropped] = []
        if not self._dead and self.partial:
            if self._buffer[:1] == START:
                events.append(Dropped(INCOMPLETE, len(self._buffer) - 1))
            else:
                events.append(Dropped(JUNK if self._started else NO_SB, self._junk + len(self._buffer)))
        self._kill()
        return events

    def _step(self, events: list[bytes | Dropped]) -> bool:
        """Take one frame or one stretch of junk out of the buffer; False when more bytes are needed."""
        if not self._buffer:
            return False
        if self._buffer[0] != SB:
            return self._skip(events)
        if self._junk:
            events.append(Dropped(JUNK, self._junk))
            self._junk = 0
        self._started = True
        return self._take(events)

    def _take(self, events: list[bytes | Dropped]) -> bool:
        buffer = self._buffer
        end = buffer.find(END, self._scanned)
        restart = buffer.find(_RESTART, max(1, self._scanned), end if end >= 0 else len(buffer))
        size = (restart if restart >= 0 else end if end >= 0 else len(buffer) - _undecided(buffer)) - 1
        if size > self._max:
            return self._fail(events, FRAME_TOO_LARGE, self._max + 1)
        if restart >= 0:
            events.append(Dropped(RESTARTED, size))
            del buffer[:restart]
        elif end >= 0:
            events.append(bytes(buffer[1:end]))
            del buffer[: end + 2]
        else:
            self._scanned = max(1, len(buffer) - len(_RESTART) + 1)
            return False
        self._scanned = 0
        return True

    def _skip(self, events: list[bytes | Dropped]) -> bool:
        buffer = self._buffer
        if not self._junk:
            # CR and LF after a frame are common and harmless.
            if blank := len(buffer) - len(buffer.lstrip(b"\r\n")):
                del buffer[:blank]
                return True
            if not self._started:
                if found := _FOREIGN.match(buffer):
                    return self._fail(events, str(found.lastgroup), found.end())
                if len(buffer) < 8 and any(start.startswith(bytes(buffer)) for start in _FOREIGN_STARTS):
                    return False
        start = buffer.find(SB)
        skipped = len(buffer) if start < 0 else start
        self._junk += skipped
        del buffer[:skipped]
        if self._junk > JUNK_LIMIT:
            return self._fail(events, JUNK if self._started else NO_SB, JUNK_LIMIT + 1)
        return True

    def _fail(self, events: list[bytes | Dropped], reason: str, size: int) -> bool:
        events.append(Dropped(reason, size, fatal=True))
        self._kill()
        return False

    def _kill(self) -> None:
        self._dead = True
        self._junk = self._scanned = 0
        self._buffer = bytearray()
