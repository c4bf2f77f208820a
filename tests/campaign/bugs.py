"""Faults seeded into the engine, to prove that the checker catches them: each breaks one promise, by a patch of a line or two.

They are put in by `tests.campaign.rigged`, in the process of the engine that runs with them, and are nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from twisted.internet.defer import Deferred, succeed

from engine.connectors.mllp.destination import MllpDestination
from engine.model import Admission, Delivered, Delivery, Outcome, Settlement, Taken, Unknown
from engine.pipeline.deliver import Deliver
from engine.pipeline.intake import Intake
from engine.store import recovery, settling
from engine.store.ledger import Ledger
from engine.store.statements import Written
from engine.store.store import SqlStore
from tests.campaign.points import put

LATER = 0.02  # seconds between an acknowledgement and the commit that should have justified it


def _acknowledge_before_the_commit() -> None:
    original = SqlStore.take

    def take(self: SqlStore, admission: Admission) -> Deferred[Taken]:
        self._runtime.clock.callLater(LATER, original, self, admission)
        return succeed(Taken(0, admission.received_at, admission.state, admission.reason))

    put(SqlStore, "take", take)


def _no_dedupe() -> None:
    put(Intake, "_dedupe_key", staticmethod(lambda values: b""))


def _newest_first() -> None:
    original = Deliver._begin

    def begin(self: Deliver, deliveries: Sequence[Delivery], room: int) -> None:
        lanes = groupby(deliveries, key=lambda one: one.lane)
        original(self, [one for _, lane in lanes for one in reversed(list(lane))], room)

    put(Deliver, "_begin", begin)


def _doubt_not_marked() -> None:
    nothing = "UPDATE delivery SET in_doubt = in_doubt WHERE ? < 0"
    put(recovery, "DOUBT_DELIVERIES", Written("doubt_deliveries", "now", sqlite=nothing))
    put(recovery, "DOUBT_ATTEMPTS", Written("doubt_attempts", "now", "why", sqlite=f"{nothing} AND ? = ''"))


def _msa_2_unchecked() -> None:
    original = MllpDestination._judge

    def judge(self: MllpDestination, content: bytes, acknowledgement: bytes) -> Outcome:
        outcome = original(self, content, acknowledgement)
        return Delivered(acknowledgement) if isinstance(outcome, Unknown) and b"\rMSA|AA|" in acknowledgement else outcome

    put(MllpDestination, "_judge", judge)


def _no_fencing() -> None:
    """What an older epoch says of an attempt is taken for a word about the one that is under way."""
    original = settling.attempted

    def attempted(ledger: Ledger, settlements: Sequence[Settlement]) -> None:
        def of_now(one: Settlement) -> Settlement:
            mark: Any = ledger.begun.get(one.delivery.id)
            return one._replace(delivery=one.delivery._replace(attempts=mark.n)) if mark else one

        original(ledger, [of_now(one) for one in settlements])

    put(settling, "attempted", attempted)


def _new_msh_10_on_retry() -> None:
    original = MllpDestination.send

    async def send(self: MllpDestination, delivery: Delivery) -> Outcome:
        if delivery.attempts > 1:
            fields = delivery.content.split(b"|", 10)
            fields[9] = b"%dR%d" % (delivery.id, delivery.attempts)
            delivery = delivery._replace(content=b"|".join(fields))
        return await original(self, delivery)

    put(MllpDestination, "send", send)


BUGS: dict[str, Callable[[], None]] = {
    "ack before commit": _acknowledge_before_the_commit,
    "no dedupe": _no_dedupe,
    "newest first": _newest_first,
    "doubt not marked": _doubt_not_marked,
    "MSA-2 unchecked": _msa_2_unchecked,
    "no fencing": _no_fencing,
    "new MSH-10 on retry": _new_msh_10_on_retry,
}
