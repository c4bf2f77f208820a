"""What an action on a search result would do, before it is done; and doing it in steps that can be taken up again.

A plan is frozen: the ids that it names are what is acted on, whatever the search would find by then. It is kept in
`.wardline/operations/` while it is carried out, so that one that was interrupted goes on where it stood; the steps that had
been done are known to the store by their tokens.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.errors import EXIT_USAGE, WardlineError
from engine.model import DeliveryState, MessageState, Verb
from engine.query import Search, check_names, queries
from engine.store.history import History
from engine.store.rows import PlannedDelivery, PlannedMessage

DIRECTORY = ".wardline/operations"
MOST = 100_000  # messages of one plan
PAGE = 500
STEP = 200  # messages and deliveries of one step

_MESSAGES = {Verb.RELEASE: {MessageState.PARKED}, Verb.CANCEL: {MessageState.PARKED}}
_DELIVERIES = {
    Verb.RELEASE: {DeliveryState.PARKED},
    Verb.CANCEL: {DeliveryState.PARKED, DeliveryState.WAITING},
    Verb.RESEND: {DeliveryState.DELIVERED, DeliveryState.EXPIRED, DeliveryState.CANCELLED},
}


class TooMany(WardlineError):
    """The search finds more than one plan may hold."""

    exit_code = EXIT_USAGE


class NoOperation(WardlineError):
    """No interrupted operation of this name is kept here."""

    exit_code = EXIT_USAGE


class Plan(NamedTuple):
    """What would be done. Ids are in the order in which it is done, oldest first."""

    verb: Verb
    messages: tuple[int, ...]
    deliveries: tuple[int, ...]
    destinations: dict[str, int]  # deliveries by destination; for a replay those that the messages had
    delivered: int  # of these deliveries: the receiver has them already
    overtaken: int  # of these deliveries: newer ones of the same order key were recorded after them
    passed_over: int  # messages found of which nothing is in a state that the verb applies to

    @property
    def empty(self) -> bool:
        return not self.messages and not self.deliveries

    def as_data(self) -> dict[str, Any]:
        return self._asdict() | {"messages": len(self.messages), "deliveries": len(self.deliveries)}


def make_plan(history: History, search: Search, verb: Verb) -> Plan:
    """Raises TooMany, and QueryError for names that the store has never seen."""
    check_names(history, search)
    messages: set[int] = set()
    deliveries: set[int] = set()
    concerned: dict[int, PlannedDelivery] = {}
    passed_over = 0
    found = {planned.row.id: planned for query in queries(search) for planned in _pages(history, query)}
    for number, planned in found.items():
        theirs = [one for one in planned.deliveries if search.destination in ("", one.destination)]
        chosen = [one for one in theirs if one.state in _DELIVERIES.get(verb, ())]
        taken = verb is Verb.REPLAY or planned.row.state in _MESSAGES.get(verb, ())
        if taken:
            messages.add(number)
        deliveries.update(one.id for one in chosen)
        concerned.update((one.id, one) for one in (theirs if verb is Verb.REPLAY else chosen))
        passed_over += not taken and not chosen
    return Plan(
        verb,
        tuple(sorted(messages)),
        tuple(sorted(deliveries)),
        dict(sorted(Counter(one.destination for one in concerned.values()).items())),
        sum(one.state == DeliveryState.DELIVERED for one in concerned.values()),
        len(_overtaken(history, sorted(concerned))) if verb is not Verb.CANCEL else 0,
        passed_over,
    )


def _pages(history: History, query: Any) -> Iterator[PlannedMessage]:
    before = count = 0
    while page := history.plan(query, PAGE, before):
        count += len(page)
        if count > MOST:
            raise TooMany(f"more than {MOST:,} messages are found: narrow the search, by since: and until: for example")
        yield from page
        before = page[-1].row.id


def _overtaken(history: History, deliveries: list[int]) -> set[int]:
    found: set[int] = set()
    for at in range(0, len(deliveries), PAGE):
        found |= history.overtaken(deliveries[at : at + PAGE])
    return found


# ── carrying it out ────────────────────────────────────────────────────────────────────────────────────────────────


class Operation(NamedTuple):
    """A plan that somebody has agreed to."""

    name: str
    verb: Verb
    who: str
    why: str
    messages: tuple[int, ...]
    deliveries: tuple[int, ...]

    def steps(self) -> Iterator[dict[str, Any]]:
        """The arguments of one `act` after the other; the same operation gives the same steps."""
        parts = [("messages", self.messages), ("deliveries", self.deliveries)]
        for what, ids in parts:
            for n, at in enumerate(range(0, len(ids), STEP)):
                token = f"{self.name}-{what}-{n}"
                yield {"token": token, "verb": self.verb, "who": self.who, "why": self.why, what: ids[at : at + STEP]}


class Agreed:
    """The operations that were agreed to on one site and are not done."""

    def __init__(self, site: Path) -> None:
        self._place = site / DIRECTORY

    def agree(self, plan: Plan, who: str, why: str) -> Operation:
        """Keep `plan` until it is done."""
        operation = Operation(secrets.token_hex(8), plan.verb, who, why, plan.messages, plan.deliveries)
        for place in (self._place.parent, self._place):
            place.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(self._path(operation.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(orjson.dumps(operation._asdict()))
            file.flush()
            os.fsync(file.fileno())
        return operation

    def find(self, name: str) -> Operation:
        """One that was interrupted. Raises NoOperation."""
        try:
            kept = orjson.loads(self._path(name).read_bytes())
        except (OSError, ValueError):
            raise NoOperation(f"no operation {name!r} was interrupted here") from None
        ids = {what: tuple(kept[what]) for what in ("messages", "deliveries")}
        return Operation(**kept | ids | {"verb": Verb(kept["verb"])})

    def carry_out(self, operation: Operation, act: Callable[..., Any], told: Callable[[int], None]) -> tuple[int, int]:
        """How many messages and deliveries were changed, over all steps; `told` hears the size of each step done."""
        messages = deliveries = 0
        for step in operation.steps():
            acted = act(**step)
            messages += acted["messages"]
            deliveries += acted["deliveries"]
            told(len(step.get("messages", ())) + len(step.get("deliveries", ())))
        self._path(operation.name).unlink(missing_ok=True)
        return messages, deliveries

    def _path(self, name: str) -> Path:
        return self._place / f"{Path(name).name}.json"
