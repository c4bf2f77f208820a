"""What people do to messages and deliveries: release, cancel, resend, replay. One transaction, done once for its token."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, select, text

from engine.model import Acted, Action, Verb
from engine.store.driver import Row
from engine.store.inbox import INSERT_FURTHER, INSERT_MESSAGE
from engine.store.ledger import Ledger
from engine.store.moves import Moves
from engine.store.outbox import OTHERWISE
from engine.store.queueing import Queueing, lanes_of
from engine.store.schema import CHUNK, action, content, delivery, lane, message, rejoin, translation, undelivered
from engine.store.settling import INSERT_UNDELIVERED
from engine.store.statements import Delete, Insert, Statement, Update, Written, among
from engine.store.texts import storable
from engine.store.unknown import FORGET_WAITS
from engine.store.words import CANCELLED, DELIVERED, EXPIRED, FILTERED, PARKED, RECEIVED, SENDING, TRANSLATED, WAITING

MOST: Final = 1000  # things in one action
PEER: Final = "replay"  # where a replayed message comes from

_a, _d, _m = action.c, delivery.c, message.c
INSERT_ACTION = Insert(action)
LEAVE_UNDELIVERED = Delete(undelivered)
DONE = Statement("action_done", select(_a.messages, _a.deliveries).where(_a.token == bindparam("token")), "token")

# messages
STATES = Statement("message_states", select(_m.id, _m.channel, _m.state).where(among(_m.id, "ids")).order_by(_m.id), "ids")
_EARLIER = (
    "INSERT INTO further (message_id, id) SELECT d.message_id, d.id FROM translation t JOIN delivery d "
    "ON d.id BETWEEN t.first_delivery AND t.first_delivery + t.deliveries - 1 WHERE t.deliveries > 0 AND t.message_id "
)
KEEP_EARLIER = Written(
    "keep_earlier",
    "ids",
    sqlite=f"{_EARLIER}IN (SELECT value FROM json_each(?))",
    postgres=f"{_EARLIER}= ANY(?::bigint[])",
)
FORGET_TRANSLATION = Statement("forget_translation", delete(translation).where(among(translation.c.message_id, "ids")), "ids")
EXPLAIN = Update("explain", translation, "reason", "message_id")
REPLAYED = Statement(
    "replayed",
    select(
        *(_m.id, _m.channel, _m.admitted, _m.kind, _m.control_id, _m.sender, _m.version, _m.processing_id, _m.digest),
        *(_m.size, _m.original),
    )
    .where(among(_m.id, "ids"))
    .order_by(_m.id),
    "ids",
)
HAS_CONTENT = Statement("has_content", select(content.c.owner).where(among(content.c.owner, "ids")), "ids")
COPY_CONTENT = Written(
    "copy_content", *("to", "owner"), sqlite="INSERT INTO content (owner, content) SELECT ?, content FROM content WHERE owner = ?"
)
COPY_CHUNKS = Written(
    "copy_chunks",
    *("to", "owner"),
    sqlite="INSERT INTO chunk (owner, n, content) SELECT ?, n, content FROM chunk WHERE owner = ?",
)

# deliveries
DELIVERIES = Statement(
    "deliveries_now",
    select(_d.id, _d.message_id, _d.state, _d.destination, _d.channel, _d.lane, _d.lanes, _d.order_keys, _d.content)
    .where(among(_d.id, "ids"))
    .order_by(_d.id),
    "ids",
)
_LATER = select(rejoin.c.lane).where(rejoin.c.lane == lane.c.id, rejoin.c.delivery == _d.id)
UNDER_WAY = Statement(
    "under_way",
    select(_d.id)
    .join(lane, (lane.c.id == _d.lane) & _d.id.between(lane.c.head, lane.c.begun))
    .where(among(_d.id, "ids"), lane.c.state == text(str(SENDING)), ~_LATER.correlate(lane, delivery).exists()),
    "ids",
)
RETURN = Update("return_delivery", delivery, "state", "lanes", "changed_at", "reason", "id")
END = Update("end_delivery", delivery, "state", "changed_at", "reason", "id")
RESEND = Written(
    "resend",
    *("id", "lanes", "created_at", "changed_at", "resent"),
    sqlite="INSERT INTO delivery (id, message_id, ordinal, channel, route, destination, state, attempts, in_doubt, lane, lanes, "
    "created_at, changed_at, identity, idempotency_key, kind, action, content_type, content, size, resend_of, order_keys, crc) "
    f"SELECT ?, message_id, ordinal, channel, route, destination, {WAITING}, 0, "
    f"CASE WHEN state = {DELIVERED} THEN 1 ELSE in_doubt END, lane, ?, ?, ?, identity, idempotency_key, kind, action, "
    "content_type, content, size, id, order_keys, crc FROM delivery WHERE id = ?",
)


class _Delivery(NamedTuple):
    id: int
    message_id: int
    state: int
    destination: int
    channel: int
    lane: int
    lanes: int
    order_keys: str | None
    content: int

    def stands(self) -> dict[int, str]:
        return lanes_of(self.lane, self.lanes, self.order_keys, self.destination, self.channel)


def act(ledger: Ledger, wanted: Action) -> tuple[Acted, dict[str, int]]:
    """The answer, and by channel the largest id of the messages that are to be translated now."""
    done = ledger.driver.rows(DONE, wanted.token)
    if done:
        messages, deliveries = done[0]
        return Acted(messages, deliveries, repeated=True), {}
    acting = _Acting(ledger, wanted)
    on_messages, on_deliveries = acting.verbs[wanted.verb]
    messages = on_messages(wanted.messages) if on_messages and wanted.messages else 0
    deliveries = on_deliveries(wanted.deliveries) if on_deliveries and wanted.deliveries else 0
    row = (wanted.token, acting.now, ledger.names(wanted.verb), acting.who, acting.why, messages, deliveries)
    ledger.driver.many(INSERT_ACTION, [row])
    channels = {ledger.channels.text(number): last for number, last in acting.again.items()}
    destinations = tuple(ledger.destinations.text(number) for number in sorted(acting.stirred))
    return Acted(messages, deliveries, False, tuple(channels), destinations), channels


_Verb = Callable[[Iterable[int]], int]


class _Acting:
    """One action under way. Each verb answers how many it has changed."""

    def __init__(self, ledger: Ledger, wanted: Action) -> None:
        self.ledger, self.driver = ledger, ledger.driver
        self.now = ledger.now()
        self.again: dict[int, int] = {}  # channel: the largest id of the messages that are to be translated now
        self.stirred: set[int] = set()  # destinations
        self.verbs: dict[Verb, tuple[_Verb | None, _Verb | None]] = {
            Verb.RELEASE: (self.release_messages, self.release_deliveries),
            Verb.CANCEL: (self.cancel_messages, self.cancel_deliveries),
            Verb.RESEND: (None, self.resend),
            Verb.REPLAY: (self.replay, None),
        }
        self.who, self.why = storable(wanted.who), storable(wanted.why)
        self.by = f" by {self.who}" + (f": {self.why}" if self.why else "")

    # ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────

    def release_messages(self, ids: Iterable[int]) -> int:
        """What an earlier translation has sent, an acknowledgement, stays with the message; the rest of it is forgotten."""
        parked = self._parked(ids)
        if parked:
            numbers = self.driver.numbers([number for number, _ in parked])
            self.driver.many(OTHERWISE, [(RECEIVED, None, number) for number, _ in parked])
            self.driver.run(KEEP_EARLIER, numbers)
            self.driver.run(FORGET_TRANSLATION, numbers)
            self.driver.run(FORGET_WAITS, numbers)
            for number, channel in parked:
                self.again[channel] = number
        return len(parked)

    def cancel_messages(self, ids: Iterable[int]) -> int:
        """The message's own reason stays: it belongs to the answer that a re-send gets again."""
        parked = self._parked(ids)
        if parked:
            self.driver.many(OTHERWISE, [(FILTERED, None, number) for number, _ in parked])
            self.driver.many(EXPLAIN, [(f"cancelled{self.by}", number) for number, _ in parked])
            self.driver.run(FORGET_WAITS, self.driver.numbers([number for number, _ in parked]))
        return len(parked)

    def replay(self, ids: Iterable[int]) -> int:
        """Messages whose content the store still has. Of a batch, its parts are replayed: as a whole it is no message."""
        driver, ledger = self.driver, self.ledger
        rows = [row for row in driver.rows(REPLAYED, driver.numbers(set(ids))) if row[2] != TRANSLATED]
        there = self._with_content({row[-1] or row[0] for row in rows})
        rows = [row for row in rows if (row[-1] or row[0]) in there]
        new = ledger.ids(len(rows))
        replays: list[Row] = []
        for number, (origin, channel, _, *heading, digest, size, original) in enumerate(rows, new):
            facts = (number, channel, RECEIVED, RECEIVED, self.now, PEER, *heading, bytes(digest), None, size)
            replays.append((*facts, None, None, origin, None))
            self.again[channel] = number
            driver.run(COPY_CONTENT, number, original or origin)
            if size > CHUNK:
                driver.run(COPY_CHUNKS, number, original or origin)
        driver.many(INSERT_MESSAGE, replays)
        driver.many(INSERT_FURTHER, [(row[0], number) for number, row in enumerate(rows, new)])

        def remember() -> None:
            ledger.unkeyed += len(rows)

        ledger.after.append(remember)
        return len(rows)

    def _parked(self, ids: Iterable[int]) -> list[tuple[int, int]]:
        """(id, channel), in order."""
        rows = self.driver.rows(STATES, self.driver.numbers(set(ids)))
        return [(number, channel) for number, channel, state in rows if state == PARKED]

    def _with_content(self, owners: set[int]) -> set[int]:
        return {row[0] for row in self.driver.rows(HAS_CONTENT, self.driver.numbers(owners))} if owners else set()

    # ── deliveries ─────────────────────────────────────────────────────────────────────────────────────────────────

    def release_deliveries(self, ids: Iterable[int]) -> int:
        parked = [one for one in self._deliveries(ids) if one.state == PARKED]
        moves = Moves(self.ledger)
        rows: list[Row] = []
        for one in parked:
            stands = one.stands()
            moves.come(one.id, stands, one.destination, one.channel)
            rows.append((WAITING, len(stands), self.now, f"released{self.by}", one.id))
        self.driver.many(RETURN, rows)
        self.driver.many(LEAVE_UNDELIVERED, [(PARKED, one.id) for one in parked])
        moves.write()
        return len(parked)

    def cancel_deliveries(self, ids: Iterable[int]) -> int:
        found = self._deliveries(ids)
        waiting = [one.id for one in found if one.state == WAITING]
        under_way = {row[0] for row in self.driver.rows(UNDER_WAY, self.driver.numbers(waiting))} if waiting else set()
        ended = [one for one in found if one.state in (PARKED, WAITING) and one.id not in under_way]
        moves = Moves(self.ledger)
        for one in ended:
            if one.state == WAITING:
                moves.go(one.id, one.stands())
                self.ledger.shelf.take(one.id)
        self.driver.many(END, [(CANCELLED, self.now, f"cancelled{self.by}", one.id) for one in ended])
        self.driver.many(LEAVE_UNDELIVERED, [(PARKED, one.id) for one in ended if one.state == PARKED])
        self.driver.many(INSERT_UNDELIVERED, [(CANCELLED, one.id) for one in ended])
        moves.write()
        return len(ended)

    def resend(self, ids: Iterable[int]) -> int:
        """Those that have ended, and whose content the store still has. What was delivered may arrive twice: it is in doubt
        from the beginning."""
        ended = [one for one in self._deliveries(ids) if one.state in (DELIVERED, EXPIRED, CANCELLED)]
        there = self._with_content({one.content for one in ended})
        ended = [one for one in ended if one.content in there]
        new = self.ledger.ids(len(ended))
        queueing = Queueing(self.ledger, {lane for one in ended for lane in one.stands()})
        for number, one in enumerate(ended, new):
            stands = one.stands()
            self.driver.run(RESEND, number, len(stands), self.now, self.now, one.id)
            if len(stands) > 1:
                queueing.cross(number, stands, one.destination, one.channel)
            else:
                ((own, order_key),) = stands.items()
                queueing.join(number, own, order_key, one.destination, one.channel)
        self.driver.many(INSERT_FURTHER, [(one.message_id, number) for number, one in enumerate(ended, new)])
        queueing.write()
        return len(ended)

    def _deliveries(self, ids: Iterable[int]) -> list[_Delivery]:
        found = [_Delivery(*row) for row in self.driver.rows(DELIVERIES, self.driver.numbers(set(ids)))]
        self.stirred |= {one.destination for one in found}
        return found
