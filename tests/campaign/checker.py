"""The oracle of the campaigns: compares what a sender and a receiver wrote down with what the store says.

Every kind of fault is a list of texts, one for each case; a run is good when all are empty. A message whose answer never
came may have arrived or not. A repeat is allowed only where the store has a doubtful attempt that explains it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.testing.charges import Deck

POSITIVE = "AA"


class StoredMessage(NamedTuple):
    control_id: str
    state: str
    sha256: str  # of the stored content, as it is in the store now


class StoredDelivery(NamedTuple):
    identity: str
    state: str
    attempts: int
    in_doubt: int  # attempts whose end nobody knows: each may have reached the receiver


class StoreView(NamedTuple):
    messages: tuple[StoredMessage, ...]  # without the rows that record re-sends
    deliveries: tuple[StoredDelivery, ...]


@dataclass
class Verdict:
    attempted: int = 0
    acknowledged: int = 0
    refused: int = 0  # answered, but not AA
    unanswered: int = 0  # attempted, and never answered: present or absent, both are right
    received: int = 0  # with repeats
    repeated: int = 0  # how many of them were repeats of one identity
    in_doubt: int = 0  # doubtful attempts in the store
    lost: list[str] = field(default_factory=list)  # acknowledged and never received
    ghosts: list[str] = field(default_factory=list)  # received and never sent
    altered: list[str] = field(default_factory=list)  # other facts, other stored bytes, or another text when repeated
    reordered: list[str] = field(default_factory=list)  # within one account
    unexplained: list[str] = field(default_factory=list)  # repeats without a doubtful attempt, or a message delivered twice
    false_success: list[str] = field(default_factory=list)  # delivered for the store, unknown to the receiver
    stuck: list[str] = field(default_factory=list)  # not in an end state after the drain
    doubled: list[str] = field(default_factory=list)  # taken twice by a receiver that drops repeats of an identity

    FAULTS = ("lost", "ghosts", "altered", "reordered", "unexplained", "false_success", "stuck", "doubled")

    def add(self, other: Verdict) -> None:
        """What another run, on another store, came to."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def good(self) -> bool:
        return not any(getattr(self, name) for name in self.FAULTS)

    def summary(self) -> dict[str, Any]:
        """Counts, and the first few cases of each fault."""
        counts = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        faults = {name: len(getattr(self, name)) for name in self.FAULTS}
        return {**counts, **faults, "examples": {name: getattr(self, name)[:5] for name in self.FAULTS if getattr(self, name)}}


def check(
    deck: Deck, sender: Iterable[Mapping[str, Any]], receiver: Iterable[Mapping[str, Any]], store: StoreView | None
) -> Verdict:
    """`store` is None where only the two ledgers can be compared; then every repeat is unexplained."""
    verdict = Verdict()
    digests, answers = _sent(sender)
    acknowledged = {control for control, codes in answers.items() if POSITIVE in codes}
    verdict.attempted, verdict.acknowledged = len(digests), len(acknowledged)
    verdict.refused = sum(1 for codes in answers.values() for code in codes if code not in (POSITIVE, "lost"))
    verdict.unanswered = sum(1 for control in digests if not set(answers.get(control, ())) - {"lost"})

    arrivals = list(receiver)
    verdict.received = len(arrivals)
    seen = {entry["facts"][0] for entry in arrivals}
    verdict.lost = [f"{control} was acknowledged and never received" for control in sorted(acknowledged - seen)]
    verdict.ghosts = [f"{control!r} was received and never sent" for control in sorted(seen - digests.keys())]
    _check_content(verdict, deck, arrivals, digests)
    _check_order(verdict, deck, arrivals, digests)
    _check_repeats(verdict, arrivals, store)
    _check_deduped(verdict, arrivals)
    if store is not None:
        _check_store(verdict, arrivals, digests, acknowledged, store)
    return verdict


def _sent(sender: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    digests: dict[str, str] = {}
    answers: dict[str, list[str]] = defaultdict(list)
    for entry in sender:
        if entry["is"] == "attempted":
            digests[entry["control_id"]] = entry["sha256"]
        else:
            answers[entry["control_id"]].append(entry["code"])
    return digests, answers


def _check_content(verdict: Verdict, deck: Deck, arrivals: list[Mapping[str, Any]], digests: Mapping[str, str]) -> None:
    texts: dict[str, str] = {}
    for entry in arrivals:
        control, identity = entry["facts"][0], entry["identity"]
        if control in digests and (expected := list(deck.charge(deck.number(control)).facts())) != entry["facts"]:
            verdict.altered.append(f"{control} arrived as {entry['facts']}, sent was {expected}")
        if texts.setdefault(identity, entry["sha256"]) != entry["sha256"]:
            verdict.altered.append(f"{identity} was repeated with another text")


def _check_order(verdict: Verdict, deck: Deck, arrivals: list[Mapping[str, Any]], digests: Mapping[str, str]) -> None:
    """First occurrences only: a repeat of an older one says nothing about order."""
    newest: dict[str, tuple[int, str]] = {}
    seen: set[str] = set()
    for entry in arrivals:
        control = entry["facts"][0]
        if control in seen or control not in digests:
            continue
        seen.add(control)
        account, sequence = deck.account(control), deck.sequence(control)
        last = newest.get(account)
        if last is not None and sequence < last[0]:
            verdict.reordered.append(f"{control} came after {last[1]} in account {account}")
        else:
            newest[account] = (sequence, control)


def _check_repeats(verdict: Verdict, arrivals: list[Mapping[str, Any]], store: StoreView | None) -> None:
    times: dict[str, int] = defaultdict(int)
    identities: dict[str, set[str]] = defaultdict(set)
    for entry in arrivals:
        times[entry["identity"]] += 1
        identities[entry["facts"][0]].add(entry["identity"])
    doubtful = {delivery.identity: delivery.in_doubt for delivery in store.deliveries} if store else {}
    verdict.repeated = len(arrivals) - len(times)
    verdict.in_doubt = sum(doubtful.values())
    for identity, count in times.items():
        if count - 1 > doubtful.get(identity, 0):
            verdict.unexplained.append(
                f"{identity} was received {count} times; the store has {doubtful.get(identity, 0)} doubtful attempts"
            )
    for control, names in identities.items():
        if len(names) > 1:
            verdict.unexplained.append(f"{control} was delivered as {', '.join(sorted(names))}")


def _check_deduped(verdict: Verdict, arrivals: list[Mapping[str, Any]]) -> None:
    """The same arrivals at a receiver that drops whatever comes with an identity (MSH-10) it has had before."""
    identities: set[str] = set()
    taken: set[str] = set()
    for entry in arrivals:
        if entry["identity"] in identities:
            continue
        identities.add(entry["identity"])
        control = entry["facts"][0]
        if control in taken:
            verdict.doubled.append(f"{control} was taken again, as {entry['identity']}")
        taken.add(control)


def _check_store(
    verdict: Verdict,
    arrivals: list[Mapping[str, Any]],
    digests: Mapping[str, str],
    acknowledged: set[str],
    store: StoreView,
) -> None:
    received = {entry["identity"] for entry in arrivals}
    for delivery in store.deliveries:
        if delivery.state == "delivered":
            if delivery.identity not in received:
                verdict.false_success.append(f"{delivery.identity} is delivered, and the receiver never had it")
        elif delivery.state in ("waiting", "sending"):
            verdict.stuck.append(f"delivery {delivery.identity} is {delivery.state}")
    stored: set[str] = set()
    for message in store.messages:
        stored.add(message.control_id)
        if message.state == "received":
            verdict.stuck.append(f"message {message.control_id} is not translated")
        if message.control_id in digests and message.sha256 != digests[message.control_id]:
            verdict.altered.append(f"{message.control_id} is stored with other bytes than were sent")
        if message.control_id not in digests:
            verdict.ghosts.append(f"{message.control_id!r} is in the store and was never sent")
    verdict.lost += [f"{control} was acknowledged and is not in the store" for control in sorted(acknowledged - stored)]
