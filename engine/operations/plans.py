"""What an action would do, before it is done: how much, where to, what has been there already, what has gone ahead.

A plan names ids. They are what is acted on, whatever a search would find by then; what has changed meanwhile is passed
over by the store, thing by thing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import EXIT_USAGE, WardlineError
from engine.model import DeliveryState, MessageState, Verb
from engine.query import Search, every

if TYPE_CHECKING:
    from engine.query import Texts
    from engine.store.history import History
    from engine.store.rows import PlannedDelivery, PlannedMessage

MOST = 100_000  # messages of one plan
PAGE = 500
SECONDS = 20.0  # that a plan may take
PACE = 100  # messages and deliveries that a slow action lets in each second: live traffic goes first
EXAMPLES = 10  # order keys that are named

SLOW = (Verb.RESEND, Verb.REPLAY)

_MESSAGES = {Verb.RELEASE: {MessageState.PARKED}, Verb.CANCEL: {MessageState.PARKED}}
_DELIVERIES = {
    Verb.RELEASE: {DeliveryState.PARKED},
    Verb.CANCEL: {DeliveryState.PARKED, DeliveryState.WAITING},
    Verb.RESEND: {DeliveryState.DELIVERED, DeliveryState.EXPIRED, DeliveryState.CANCELLED},
}
_AHEAD = {  # states of newer deliveries that the receiver has, or gets before what is acted on
    Verb.RELEASE: (DeliveryState.DELIVERED,),  # it takes its old place, before all that waits
    Verb.RESEND: (DeliveryState.DELIVERED, DeliveryState.WAITING),  # it joins the end of its lane
    Verb.REPLAY: (DeliveryState.DELIVERED, DeliveryState.WAITING),
}
_NOTHING = {
    Verb.RELEASE: "nothing of it is parked",
    Verb.CANCEL: "nothing of it is parked or waits",
    Verb.RESEND: "no delivery of it has ended",
}
_TOO_LONG = f"finding the messages takes more than {SECONDS:.0f} seconds: narrow the search by time or channel"
NOT_YOURS = "in a channel where you may not act"
ELSEWHERE = "for other destinations than those chosen"
UNKNOWN_YET = "where it goes is known once it is translated, and destinations were chosen"
PARKED = "parked: releasing is what lets it go on; replayed, it would be there twice"
UNTRANSLATED = "not translated yet"
DUPLICATE = "a duplicate: its original is what can be replayed"
BATCH = "a batch: its parts are messages of their own"
REPLAY_OF_ANOTHER = "a replay of a message that is in this plan itself"
AGAIN = "sent again already, as a later delivery"
FORGOTTEN = "its content is not kept any more"


class TooMany(WardlineError):
    """The search finds more than one plan may hold, or takes too long."""

    exit_code = EXIT_USAGE


class Overtaken(NamedTuple):
    """An order key of which newer messages have gone ahead: the receiver would be told something old last."""

    destination: str
    order_key: str
    message: int  # the newest one of the key in the plan
    newer: int  # the newest one of the key that is ahead of it


class Plan(NamedTuple):
    """What would be done. Ids are in the order in which it is done, oldest first."""

    verb: Verb
    messages: tuple[int, ...]
    deliveries: tuple[int, ...]
    channels: dict[str, int]  # messages that are acted on, or of which deliveries are, by channel
    destinations: dict[str, int]  # deliveries by destination; for a replay those that the messages had
    delivered: dict[str, int]  # of these deliveries, by destination: the receiver has them already
    repeated: int  # of what is sent or replayed: it was so before
    overtaken: int | None  # order keys with newer messages that are not in the plan; None: too many to look through in time
    examples: tuple[Overtaken, ...]
    passed_over: dict[str, int]  # messages found of which nothing is acted on, by reason
    seconds: float  # that it takes about, at the pace of the slow lane

    @property
    def empty(self) -> bool:
        return not self.messages and not self.deliveries

    def as_data(self) -> dict[str, Any]:
        return self._asdict() | {
            "messages": len(self.messages),
            "deliveries": len(self.deliveries),
            "examples": [one._asdict() for one in self.examples],
        }


class Limits(NamedTuple):
    """What of the messages found may be acted on."""

    channels: Callable[[str], bool] = lambda _: True  # in which the person may act
    destinations: Collection[str] = ()  # none: all
    deliveries: Collection[int] | None = None  # None: all


def make_plan(
    history: History,
    found: Iterable[PlannedMessage],
    verb: Verb,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    seconds: Callable[[], float] = time.monotonic,
) -> Plan:
    """Raises TooMany where there are more than MOST messages, or where finding them takes more than SECONDS."""
    until = seconds() + SECONDS
    if verb is Verb.REPLAY and limits.destinations:
        raise TooMany("a replay is translated anew for all its routes. To reach one destination only, resend its deliveries")
    planned: dict[int, PlannedMessage] = {}
    for one in found:
        planned[one.row.id] = one
        if len(planned) > MOST:
            raise TooMany(f"more than {MOST:,} messages are found: narrow the search, by since: and until: for example")
        if seconds() > until:
            raise TooMany(_TOO_LONG)
    draft = _Draft(verb, limits)
    for number in sorted(planned):
        draft.consider(planned[number], planned)
    draft.forget_what_has_no_content(history)
    return draft.plan(history, lambda: seconds() > until)


def searched(
    history: History,
    search: Search,
    visible: Collection[str] | None = None,
    texts: Texts | None = None,
    seconds: Callable[[], float] = time.monotonic,
) -> Iterator[PlannedMessage]:
    """What a search finds in the `visible` channels, None for all; `texts` opens the index of texts, for one that asks for
    words.

    Raises QueryError for names that the store has never seen, NoIndex, TooMany where it takes more than SECONDS.
    """
    until = seconds() + SECONDS
    for rows in every(history, search, visible=visible, texts=texts):
        if rows:
            yield from history.planned([row.id for row in rows])
        elif seconds() > until:
            raise TooMany(_TOO_LONG)


def given(history: History, messages: Collection[int]) -> Iterator[PlannedMessage]:
    """Messages that somebody has named."""
    for ids in _slices(messages):
        yield from history.planned(ids)


def of_deliveries(history: History, deliveries: Collection[int]) -> Iterator[PlannedMessage]:
    """The messages of deliveries that somebody has named."""
    messages: set[int] = set()
    for ids in _slices(deliveries):
        messages |= history.messages_of(ids)
    return given(history, sorted(messages))


def _slices(numbers: Collection[int]) -> Iterator[list[int]]:
    each = list(numbers)
    for at in range(0, len(each), PAGE):
        yield each[at : at + PAGE]


class _Chosen(NamedTuple):
    """Of one message: whether it is acted on itself, which deliveries are, and which receivers hear of it."""

    planned: PlannedMessage
    itself: bool
    deliveries: list[PlannedDelivery]
    concerned: list[PlannedDelivery]
    delivered: set[int]  # of the concerned: those whose receiver has the same already


class _Draft:
    """A plan being made."""

    def __init__(self, verb: Verb, limits: Limits) -> None:
        self.verb, self.limits = verb, limits
        self.chosen: list[_Chosen] = []
        self.passed_over: Counter[str] = Counter()
        self.repeated: set[int] = set()

    def consider(self, planned: PlannedMessage, others: Collection[int]) -> None:
        row = planned.row
        if not self.limits.channels(row.channel):
            self.passed_over[NOT_YOURS] += 1
        elif self.verb is Verb.REPLAY:
            if why := _unreplayable(planned, others):
                self.passed_over[why] += 1
            else:
                has_it = {one.id for one in planned.deliveries if one.state == DeliveryState.DELIVERED}
                self.chosen.append(_Chosen(planned, True, [], list(planned.deliveries), has_it))
        else:
            self._choose(planned)

    def _choose(self, planned: PlannedMessage) -> None:
        limits, only = self.limits, self.limits.deliveries
        theirs = [one for one in planned.deliveries if only is None or one.id in only]
        near = [one for one in theirs if not limits.destinations or one.destination in limits.destinations]
        taken = [one for one in near if one.state in _DELIVERIES[self.verb]]
        has_it = {one.id for one in taken if one.state == DeliveryState.DELIVERED}
        if again := {one.resend_of for one in planned.deliveries if one.resend_of} if self.verb is Verb.RESEND else set():
            has_it = _delivered_before(planned.deliveries)
            self.repeated |= {one.id for one in taken if one.resend_of and one.id not in again}
            taken = [one for one in taken if one.id not in again]
        whole = planned.row.state in _MESSAGES.get(self.verb, ()) and not limits.destinations and only is None
        if taken or whole:
            self.chosen.append(_Chosen(planned, whole, taken, taken, has_it))
        elif planned.row.state in _MESSAGES.get(self.verb, ()):
            self.passed_over[UNKNOWN_YET] += 1
        elif any(one.id in again for one in near):
            self.passed_over[AGAIN] += 1
        elif any(one.state in _DELIVERIES[self.verb] for one in theirs):
            self.passed_over[ELSEWHERE] += 1
        else:
            self.passed_over[_NOTHING[self.verb]] += 1

    def forget_what_has_no_content(self, history: History) -> None:
        """Retention may have taken what would have to be sent."""
        if self.verb not in SLOW:
            return
        owners = {one.planned.row.original or one.planned.row.id for one in self.chosen if one.itself}
        owners |= {delivery.content for one in self.chosen for delivery in one.deliveries}
        there: set[int] = set()
        for ids in _slices(sorted(owners)):
            there |= history.with_content(ids)
        kept: list[_Chosen] = []
        for one in self.chosen:
            itself = one.itself and (one.planned.row.original or one.planned.row.id) in there
            deliveries = [delivery for delivery in one.deliveries if delivery.content in there]
            if itself or deliveries:
                concerned = one.concerned if self.verb is Verb.REPLAY else deliveries
                kept.append(one._replace(itself=itself, deliveries=deliveries, concerned=concerned))
            else:
                self.passed_over[FORGOTTEN] += 1
        self.chosen = kept

    def plan(self, history: History, late: Callable[[], bool]) -> Plan:
        concerned = [delivery for one in self.chosen for delivery in one.concerned]
        delivered = {number for one in self.chosen for number in one.delivered}
        messages = tuple(one.planned.row.id for one in self.chosen if one.itself)
        deliveries = tuple(sorted(delivery.id for one in self.chosen for delivery in one.deliveries))
        repeated = len(self.repeated.intersection(deliveries))
        if self.verb is Verb.REPLAY:
            repeated = sum(len(history.replayed(ids)) for ids in _slices(messages))
        overtaken = self._overtaken(history, late)
        things = len(messages) + len(deliveries)
        return Plan(
            self.verb,
            messages,
            deliveries,
            _counted(one.planned.row.channel for one in self.chosen),
            _counted(one.destination for one in concerned),
            _counted(one.destination for one in concerned if one.id in delivered),
            repeated,
            None if overtaken is None else len(overtaken),
            tuple((overtaken or [])[:EXAMPLES]),
            dict(sorted(self.passed_over.items())),
            things / (PACE if self.verb in SLOW else 20 * PACE),
        )

    def _overtaken(self, history: History, late: Callable[[], bool]) -> list[Overtaken] | None:
        """By order key, those whose newest message at the receiver is not in the plan. A key that a plan holds to its newest
        message ends where it is now."""
        last: dict[int, tuple[PlannedDelivery, int]] = {}  # by lane: the newest of the plan, and its message
        for one in self.chosen:
            for delivery in one.concerned:
                if delivery.lane not in last or last[delivery.lane][0].id < delivery.id:
                    last[delivery.lane] = delivery, one.planned.row.id
        ahead: dict[int, int] = {}
        if last and (states := _AHEAD.get(self.verb)):
            after = min(delivery.id for delivery, _ in last.values())
            for newest in history.newest(last.keys(), after, states):
                ahead.update({lane: newer for lane, (number, newer) in newest.items() if number > last[lane][0].id})
                if late():
                    return None
        found = [
            Overtaken(delivery.destination, delivery.order_key, message, ahead[lane])
            for lane, (delivery, message) in last.items()
            if lane in ahead
        ]
        return sorted(found, key=lambda one: one.message)


def _unreplayable(planned: PlannedMessage, others: Collection[int]) -> str:
    row = planned.row
    if row.state == MessageState.DUPLICATE:
        return DUPLICATE
    if row.state == MessageState.PARKED:
        return PARKED
    if row.state == MessageState.RECEIVED:
        return UNTRANSLATED
    if row.state == MessageState.TRANSLATED and not planned.deliveries:
        return BATCH
    return REPLAY_OF_ANOTHER if row.replay_of in others else ""


def _delivered_before(deliveries: Iterable[PlannedDelivery]) -> set[int]:
    """Those that are delivered, or repeat one that is."""
    found: set[int] = set()
    for one in sorted(deliveries, key=lambda each: each.id):
        if one.state == DeliveryState.DELIVERED or one.resend_of in found:
            found.add(one.id)
    return found


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
