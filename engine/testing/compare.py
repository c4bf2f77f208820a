"""Stored traffic, translated by another configuration: what would be different? Nothing is sent and nothing is written.

Each message is judged as intake would judge it and translated as the engine would, in processes with the engine's bounds, and
held against what was really made of it. Where messages differ is told by channel, route and field, with a few ids; values are
not told, so that the answer may be shown to whoever sees no bodies.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from engine.contracts import Channel, Site
from engine.ids import format_id
from engine.model import GATE, Arrival, Heading, Message, MessageState, Translation
from engine.pipeline.intake import Intake
from engine.pipeline.keeper import SiteWork, facts_of
from engine.store.history import History
from engine.store.produced import MOST, Produced
from engine.store.rows import MessageRow
from engine.store.search import Query
from engine.testing.differences import between, every
from engine.testing.translating import Translator

EXAMPLES: Final = 3  # messages named of each group
MOST_GROUPS: Final = 500
LONGEST: Final = 300  # characters of a reason
NICE: Final = 10
BATCH: Final = 25  # messages that one translator is given at once

_LINE: Final = re.compile(r" ?\([^()\s]+\.(?:yaml|j2|csv):\d+:\d+\)")
_VALUE: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


class Group(NamedTuple):
    """What happens to several messages in the same way."""

    what: str  # `changed`, `failing`, `mended`, `filtered`, `rejected`, `accepted`
    channel: str
    route: str  # '' where it is not of one route
    field: str  # of a change: the field; else the reason
    change: str  # of a change: `changed`, `added`, `gone`


@dataclass(slots=True)
class Found:
    """One group's messages."""

    messages: int = 0
    examples: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Comparison:
    """What a comparison has found so far."""

    counts: Counter[str] = field(default_factory=Counter)  # messages: `identical`, and each `what` of a group
    left_out: Counter[str] = field(default_factory=Counter)  # messages that cannot be compared, by why
    groups: dict[Group, Found] = field(default_factory=dict)
    reached: int = 0  # messages received before this instant are still to come

    @property
    def different(self) -> bool:
        return any(count for what, count in self.counts.items() if what != "identical")

    def add(self, message: int, what: str, groups: Sequence[Group] = ()) -> None:
        self.counts[what] += 1
        for group in groups:
            full = group not in self.groups and len(self.groups) >= MOST_GROUPS
            found = self.groups.setdefault(Group(what, group.channel, "", "(others)", "") if full else group, Found())
            found.messages += 1
            if len(found.examples) < EXAMPLES:
                found.examples.append(message)

    def data(self) -> dict[str, Any]:
        """For JSON, the largest groups first."""
        groups = sorted(self.groups.items(), key=lambda pair: (-pair[1].messages, pair[0]))
        return {
            "different": self.different,
            "messages": sum(self.counts.values()),
            "counts": dict(self.counts),
            "left_out": dict(self.left_out),
            "groups": [
                {**group._asdict(), "messages": found.messages, "examples": [format_id(one) for one in found.examples]}
                for group, found in groups
            ],
        }


class JudgedWork(SiteWork):
    """Translates as the engine does, and judges before as intake does; with less claim to the processors than live messages."""

    _nice = False

    def add(self, site: Site) -> None:
        super().add(site)
        self._judges = {channel.name: _judge(channel, site) for channel in site.channels}

    def __call__(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation]:
        if not self._nice:
            self._nice = True
            os.nice(NICE)
        return [self._one(version, channel, message) for message in messages]

    def _one(self, version: str, channel: str, message: Message) -> Translation:
        admission = self._judges[channel](Arrival(message.content, message.peer)).admission
        if admission.state in (MessageState.REJECTED, MessageState.FILTERED) and not message.replay_of:
            return Translation(message.id, channel, admission.state, admission.reason, config=version)
        (translation,) = super().__call__(version, channel, [message])
        return translation


class _NoTime:
    """Judging asks for the time of day only to note it."""

    def now(self) -> int:
        return 0


def _judge(channel: Channel, site: Site) -> Callable[[Arrival], Any]:
    return Intake(channel, facts_of(site, channel), cast(Any, None), cast(Any, _NoTime()), lambda: None).judge


def compare(
    history: History,
    site: Site,
    translators: Sequence[Translator],
    query: Query,
    told: Callable[[Comparison], None] = lambda comparison: None,
) -> Comparison:
    """What `query` finds, newest first, by `site`; `told` hears of it after every slice and may end it by raising.

    `translators` are those of `JudgedWork(site)`. A bounded number of slices is under way at once. Raises StoreError.
    """
    comparison = Comparison(reached=query.until)
    channels = {channel.name for channel in site.channels}
    pending: deque[tuple[list[Produced], Future[list[Translation]]]] = deque()
    free = deque(translators)

    def finish() -> None:
        produced, future = pending.popleft()
        for one, translation in zip(produced, future.result(), strict=True):
            _compared(comparison, one, translation)
        comparison.reached = produced[-1].row.received_at
        told(comparison)

    with ThreadPoolExecutor(len(translators)) as pool:

        def work(translator: Translator, channel: str, messages: list[Message]) -> list[Translation]:
            return translator.translate(site.version, channel, messages)

        for batch in _batches(history, query, channels, comparison):
            if len(pending) >= len(translators):
                finish()
            translator = free[0]
            free.rotate(-1)
            messages = [_message(one) for one in batch]
            pending.append((batch, pool.submit(work, translator, batch[0].row.channel, messages)))
        while pending:
            finish()
    return comparison


def _batches(history: History, query: Query, channels: set[str], comparison: Comparison) -> Iterator[list[Produced]]:
    """Messages that can be compared, those of one channel together."""
    before = 0
    while rows := history.find(query, MOST, before):
        before = rows[-1].id
        wanted = [row for row in rows if not _left_out(comparison, row, channels)]
        for slice_ in history.produced(wanted):
            of_channel: dict[str, list[Produced]] = {}
            for one in slice_:
                if one.content is None or not one.whole:
                    comparison.left_out["content no longer kept"] += 1
                    continue
                batch = of_channel.setdefault(one.row.channel, [])
                batch.append(one)
                if len(batch) == BATCH:
                    yield of_channel.pop(one.row.channel)
            yield from of_channel.values()


def _left_out(comparison: Comparison, row: MessageRow, channels: set[str]) -> bool:
    why = ""
    if row.state == MessageState.DUPLICATE:
        why = "duplicates: the first of them is compared"
    elif row.state == MessageState.RECEIVED:
        why = "not translated yet"
    elif row.kind == "batch":
        why = "batches: each message in them is compared"
    if why:
        comparison.left_out[why] += 1
    elif row.channel not in channels:
        comparison.add(row.id, "failing", [Group("failing", row.channel, "", "the channel is not in this configuration", "")])
        why = "gone"
    return bool(why)


def _message(one: Produced) -> Message:
    row = one.row
    heading = Heading(row.kind, row.control_id, row.sender, row.version, row.processing_id)
    return Message(row.id, row.channel, one.content or b"", heading, row.peer, row.received_at, row.replay_of, row.part_of)


_WENT_WRONG: Final = {MessageState.PARKED: "failing", MessageState.REJECTED: "rejected", MessageState.FILTERED: "filtered"}


def _compared(comparison: Comparison, one: Produced, translation: Translation) -> None:
    row, now = one.row, translation.state
    was = MessageState(row.state)
    if now is not was:
        what = _WENT_WRONG.get(now) or ("mended" if was is MessageState.PARKED else "accepted")
        reason = translation.reason if now is not MessageState.TRANSLATED else row.reason
        comparison.add(row.id, what, [Group(what, row.channel, "", grouped(reason), "")])
    elif was is MessageState.PARKED:
        why = grouped(translation.reason)
        if why == grouped(row.reason):
            comparison.add(row.id, "identical")
        else:
            comparison.add(row.id, "changed", [Group("changed", row.channel, "", f"(why it parks) {why}"[:LONGEST], "changed")])
    elif was is MessageState.TRANSLATED:
        _products(comparison, one, translation)
    else:
        comparison.add(row.id, "identical")


def _products(comparison: Comparison, one: Produced, translation: Translation) -> None:
    made = [_without_gates(outgoing) for outgoing in translation.outgoings]
    channel = one.row.channel
    groups = [
        Group("changed", channel, found.route, found.field[:LONGEST], found.change) for found in between(one.outgoings, made)
    ]
    if set(translation.keys) != set(one.keys):
        names = sorted({name for name, _ in set(translation.keys) ^ set(one.keys)})
        groups += [Group("changed", channel, "", f"(index) {name}", "changed") for name in names]
    comparison.add(one.row.id, "changed" if groups else "identical", groups)


def _without_gates(outgoing: Any) -> Any:
    """`after` is no order key: it holds within one message."""
    return outgoing._replace(order_keys=tuple(key for key in outgoing.order_keys if not key.startswith(GATE)))


def grouped(reason: str) -> str:
    """A reason without what is different from message to message: values, positions, lines of files."""
    return every(_VALUE.sub("'…'", _LINE.sub("", reason)))[:LONGEST]
