"""What the pipeline reads outside a commit: on a connection of its own, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, literal_column, select
from twisted.internet.defer import Deferred, execute

from engine.ids import format_id
from engine.model import Heading, Message
from engine.store.driver import Reader
from engine.store.lanes import CHUNKS, CONTENTS, NEXT_DUE, damaged
from engine.store.schema import CHUNK, channel, lane, message
from engine.store.statements import Statement
from engine.store.words import RECEIVED

ANSWER_BYTES: Final = 8 << 20  # content in one answer; a single message may be more

Result = TypeVar("Result")

_m = message.c
UNTRANSLATED = Statement(
    "untranslated",
    select(
        *(_m.id, _m.kind, _m.control_id, _m.sender, _m.version, _m.processing_id),
        *(_m.peer, _m.received_at, _m.replay_of, _m.part_of, _m.digest, _m.size),
    )
    .where(
        _m.channel == select(channel.c.id).where(channel.c.name == bindparam("name")).scalar_subquery(),
        _m.state == literal_column(str(RECEIVED)),
        _m.id > bindparam("after"),
    )
    .order_by(_m.id)
    .limit(bindparam("limit"))
    .offset(literal_column("0")),
    *("name", "after", "limit"),
)


_ONE: Any = literal_column("1")
_ZERO: Any = literal_column("0")
_ID = select(channel.c.id).where(channel.c.name == bindparam("name")).scalar_subquery()
TO_TRANSLATE = Statement(
    "to_translate",
    select(_m.id).where(_m.channel == _ID, _m.state == literal_column(str(RECEIVED))).limit(_ONE).offset(_ZERO),
    "name",
)
TO_DELIVER = Statement("to_deliver", select(lane.c.id).where(lane.c.channel == _ID).limit(_ONE).offset(_ZERO), "name")


def settled(reader: Reader, channel_name: str) -> bool:
    """Whether nothing of this channel waits to be translated or delivered."""
    return not reader.rows(TO_TRANSLATE, channel_name) and not reader.rows(TO_DELIVER, channel_name)


def untranslated(reader: Reader, channel_name: str, after: int, limit: int) -> tuple[list[Message], bool]:
    """The messages, and whether these are all there are. Raises StoreError where content is not what was stored."""
    rows = reader.rows(UNTRANSLATED, channel_name, after, limit)
    total = 0
    for n, row in enumerate(rows):
        total += row[-1]
        if n and total > ANSWER_BYTES:
            return _messages(reader, channel_name, rows[:n]), False
    return _messages(reader, channel_name, rows), len(rows) < limit


def _messages(reader: Reader, channel_name: str, rows: list[Any]) -> list[Message]:
    if not rows:
        return []
    bodies = {owner: bytes(body) for owner, body in reader.rows(CONTENTS, reader.numbers([row[0] for row in rows]))}
    found = []
    for number, kind, control_id, sender, version, processing_id, peer, received_at, replay_of, part_of, digest, size in rows:
        body = bodies.get(number, b"")
        if size > CHUNK:
            body = b"".join([body, *(bytes(row[0]) for row in reader.rows(CHUNKS, number))])
        if sha256(body).digest() != bytes(digest):
            raise damaged(f"message {format_id(number)}")
        heading = Heading(kind, control_id, sender, version, processing_id)
        found.append(Message(number, channel_name, body, heading, peer, received_at, replay_of or 0, part_of or 0))
    return found


def next_due(reader: Reader, destination: str) -> int:
    due = reader.rows(NEXT_DUE, destination)[0][0]
    return 0 if due is None else max(due, 1)


class InlineReads:
    """Reads at once, in the caller."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def ask(self, question: Callable[..., Result], *about: Any) -> Deferred[Result]:
        return execute(question, self._reader, *about)

    def close(self) -> None:
        self._reader.close()


class ThreadedReads:
    """Reads one after another in a thread; answers arrive through `call`, in the reactor's thread."""

    def __init__(self, reader: Reader, call: Callable[..., object]) -> None:
        self._reader, self._call = reader, call
        self._questions: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], Deferred[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="wardline-store-reads", daemon=True).start()

    def ask(self, question: Callable[..., Result], *about: Any) -> Deferred[Result]:
        answer: Deferred[Result] = Deferred()
        self._questions.put((question, about, answer))
        return answer

    def _run(self) -> None:
        while (asked := self._questions.get()) is not None:
            question, about, answer = asked
            try:
                result = question(self._reader, *about)
            except Exception as error:
                self._call(answer.errback, error)
            else:
                self._call(answer.callback, result)
        self._reader.close()

    def close(self) -> None:
        self._questions.put(None)
