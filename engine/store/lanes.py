"""Turns: which deliveries may begin.

A lane's head begins when the lane is due; up to a window of those behind it begin with it. A delivery that stands in
several lanes is begun from its own lane, which is `blocked` until the delivery heads them all. All lanes order deliveries
by id, so of the deliveries that wait the one with the smallest id heads every lane it stands in: there is no deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple
from zlib import crc32

from sqlalchemy import bindparam, func, literal_column, select, text, update

from engine.errors import StoreError
from engine.ids import format_id
from engine.model import Delivery
from engine.store.driver import Row
from engine.store.ledger import Begun, Flight, Ledger
from engine.store.schema import CHUNK, chunk, content, delivery, lane, message, place
from engine.store.schema import destination as destination_
from engine.store.statements import Statement, Update, among
from engine.store.words import RUNNING, SENDING, WAITING

ANSWER_BYTES: Final = 8 << 20  # content in one answer; a single delivery may be more

_ZERO: Any = literal_column("0")
_READY = [lane.c.destination == bindparam("destination"), lane.c.state == literal_column(str(WAITING))]
_LATE = [*_READY, lane.c.due > _ZERO]


def _first(room: str, query: Any) -> Any:
    return query.limit(bindparam(room)).offset(_ZERO)


_TURN = select(lane.c.id, lane.c.head, lane.c.more).with_for_update(skip_locked=True)
LANES_LATE = Statement(
    "lanes_late",
    _first("room", _TURN.where(*_LATE, lane.c.due <= bindparam("now")).order_by(lane.c.due)),
    *("destination", "now", "room"),
)
LANES_READY = Statement(
    "lanes_ready",
    _first("room", _TURN.where(*_READY, lane.c.due == _ZERO).order_by(lane.c.head)),
    *("destination", "room"),
)
LATE_DUE = Statement("late_due", select(func.min(lane.c.due)).where(*_LATE), "destination")
NEXT_DUE = Statement(
    "next_due",
    select(func.min(lane.c.due)).where(
        lane.c.destination
        == select(destination_.c.id)
        .where(destination_.c.name == bindparam("name"), destination_.c.state == literal_column(str(RUNNING)))
        .scalar_subquery(),
        lane.c.state == literal_column(str(WAITING)),
    ),
    "name",
)
FOLLOWERS = Statement(
    "followers",
    _first("room", select(place.c.delivery).where(place.c.lane == bindparam("lane")).order_by(place.c.delivery)),
    *("lane", "room"),
)
BEGIN_HEADS = Statement(
    "begin_heads",
    update(lane)
    .where(among(lane.c.id, "ids"))
    .values(state=text(str(SENDING)), begun=lane.c.head, epoch=bindparam("at_epoch"), begun_at=bindparam("at")),
    *("at_epoch", "at", "ids"),
)
BEGIN_WINDOW = Update("begin_window", lane, "state", "begun", "epoch", "begun_at", "id")

_d = delivery.c
FACTS = Statement(
    "facts",
    select(
        *(_d.id, _d.message_id, _d.channel, _d.route, _d.content_type, _d.content, _d.identity, _d.idempotency_key),
        *(_d.lanes, _d.attempts, _d.created_at, _d.in_doubt, _d.size, _d.crc),
    ).where(among(_d.id, "ids")),
    "ids",
)
CONTENTS = Statement("contents", select(content).where(among(content.c.owner, "ids")), "ids")
DIGESTS = Statement("digests", select(message.c.id, message.c.digest).where(among(message.c.id, "ids")), "ids")
CHUNKS = Statement("chunks", select(chunk.c.content).where(chunk.c.owner == bindparam("owner")).order_by(chunk.c.n), "owner")


class _Facts(NamedTuple):
    id: int
    message_id: int
    channel: int
    route: int
    content_type: int
    owner: int
    identity: str
    idempotency_key: str
    lanes: int
    attempts: int
    created_at: int
    in_doubt: int
    size: int
    crc: int | None


def take_due(ledger: Ledger, destination: str, room: int, window: int) -> tuple[list[Delivery], bool]:
    """What begins, and whether nothing is left that could begin now or later without another verb."""
    number = ledger.destinations.get(destination)
    if number is None or number in ledger.standing or number in ledger.stopping:
        return [], True
    if room <= 0:
        return [], False
    turns = _turns(ledger, number, room)
    if not turns:
        return [], number not in ledger.late
    chosen = _choose(ledger, _chains(ledger, turns, room, window))
    return _begin(ledger, destination, chosen), len(chosen) == len(turns) < room and number not in ledger.late


class _Chain:
    """The head of a lane and those behind it that could begin with it."""

    __slots__ = ("ids", "lane", "more")

    def __init__(self, lane: int, ids: list[int], more: bool) -> None:
        self.lane, self.ids, self.more = lane, ids, more


def _turns(ledger: Ledger, destination: int, room: int) -> list[Row]:
    """Lanes whose turn has come, those that waited for a due time before the others."""
    driver = ledger.driver
    turns: list[Row] = []
    if destination in ledger.late:
        turns = driver.rows(LANES_LATE, destination, ledger.now(), room)
        if not turns and driver.rows(LATE_DUE, destination)[0][0] is None:
            ledger.late.discard(destination)
    if len(turns) < room:
        turns += driver.rows(LANES_READY, destination, room - len(turns))
    return turns


def _chains(ledger: Ledger, turns: Sequence[Row], room: int, window: int) -> list[_Chain]:
    spare = room - len(turns)
    chains = []
    for one, head, more in turns:
        asked = min(window - 1, spare) if more else 0
        if asked > 0:
            behind = [row[0] for row in ledger.driver.rows(FOLLOWERS, one, asked)]
            spare -= len(behind)
            chains.append(_Chain(one, [head, *behind], len(behind) == asked))
        else:
            chains.append(_Chain(one, [head], bool(more)))
    return chains


def _choose(ledger: Ledger, chains: Sequence[_Chain]) -> list[tuple[_Chain, list[Delivery | _Facts]]]:
    """Cut the chains to what can be begun together, and to what one answer may hold."""
    shelf = ledger.shelf
    found: dict[int, Delivery | _Facts] = {}
    cold: list[int] = []
    for chain in chains:
        for number in chain.ids:
            shelved = shelf.get(number)
            if shelved is None:
                cold.append(number)
            else:
                found[number] = shelved
    if cold:
        found.update((row[0], _Facts._make(row)) for row in ledger.driver.rows(FACTS, ledger.driver.numbers(cold)))
    chosen: list[tuple[_Chain, list[Delivery | _Facts]]] = []
    total = 0
    for chain in chains:
        begun: list[Delivery | _Facts] = []
        for number in chain.ids:
            facts = found[number]
            total += len(facts.content) if isinstance(facts, Delivery) else facts.size
            crosses = isinstance(facts, _Facts) and facts.lanes > 1
            if (begun and crosses) or (total > ANSWER_BYTES and (begun or chosen)):
                break
            begun.append(facts)
            if crosses:
                break
        if len(begun) < len(chain.ids):
            chain.more = True
        if begun:
            chosen.append((chain, begun))
        if total > ANSWER_BYTES:
            break
    return chosen


def _begin(ledger: Ledger, destination: str, chosen: Sequence[tuple[_Chain, list[Delivery | _Facts]]]) -> list[Delivery]:
    contents = _contents(ledger, [one for _, begun in chosen for one in begun if isinstance(one, _Facts)])
    answer: list[Delivery] = []
    flights: dict[int, Flight] = {}
    marks: dict[int, Begun] = {}
    heads: list[int] = []
    windows: list[Row] = []
    now = ledger.now()
    for chain, begun in chosen:
        for one in begun:
            ledger.shelf.take(one.id)
            lanes = 1
            if isinstance(one, _Facts):
                lanes = one.lanes
                one = _delivery(ledger, one, destination, chain.lane, contents[one.owner])  # noqa: PLW2901
            marks[one.id] = Begun(one.attempts, chain.lane, lanes, one.in_doubt)
            answer.append(one)
        flights[chain.lane] = Flight([one.id for one in begun], chain.more, {})
        if len(begun) == 1:
            heads.append(chain.lane)
        else:
            windows.append((SENDING, begun[-1].id, ledger.epoch, now, chain.lane))
    driver = ledger.driver
    if heads:
        driver.run(BEGIN_HEADS, ledger.epoch, now, driver.numbers(heads))
    driver.many(BEGIN_WINDOW, windows)

    def remember() -> None:
        ledger.flights.update(flights)
        ledger.begun.update(marks)

    ledger.after.append(remember)
    return answer


def _contents(ledger: Ledger, wanted: Sequence[_Facts]) -> dict[int, bytes]:
    """Raises StoreError where one is not what was stored: before it is sent, and before anything else is answered."""
    sizes = {one.owner: one.size for one in wanted}
    if not sizes:
        return {}
    driver = ledger.driver
    rows = driver.rows(CONTENTS, driver.numbers(sizes))
    found = {owner: bytes(body) for owner, body in rows if isinstance(body, bytes | memoryview)}
    for owner, size in sizes.items():
        if size > CHUNK:
            found[owner] = b"".join([found.get(owner, b""), *(bytes(row[0]) for row in driver.rows(CHUNKS, owner))])
    messages = [one.owner for one in wanted if one.crc is None]
    digests = {owner: bytes(digest) for owner, digest in driver.rows(DIGESTS, driver.numbers(messages))} if messages else {}
    for one in wanted:
        body = found.get(one.owner)
        if body is not None and one.crc is not None:
            sound = crc32(body) == one.crc
        else:  # a message's content; a delivery's own had no checksum before schema 2
            sound = body is not None and sha256(body).digest() == digests.get(one.owner, sha256(body).digest())
        if not sound:
            raise damaged(f"delivery {one.id} of message {format_id(one.message_id)}")
    return found


def damaged(what: str) -> StoreError:
    return StoreError(
        f"the content of {what} is not what was stored: the disk or the memory of this machine cannot be trusted. "
        "Have both checked and restore the last backup; if it is the only one, cancel it and have its sender send it again"
    )


def _delivery(ledger: Ledger, facts: _Facts, destination: str, lane: int, body: bytes) -> Delivery:
    text_of = ledger.names.text
    return Delivery(
        facts.id,
        facts.message_id,
        ledger.channels.text(facts.channel),
        text_of(facts.route),
        destination,
        body,
        text_of(facts.content_type),
        facts.identity,
        facts.idempotency_key,
        lane,
        facts.attempts + 1,
        facts.created_at,
        bool(facts.in_doubt),
    )
