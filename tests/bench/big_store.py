"""A big store, laid down through the store's own verbs as an engine would have: `python -m tests.bench.big_store --url URL`.

Twenty channels, twelve destinations, sixty thousand patients; most of it delivered, some of it not: parked, filtered, rejected,
duplicate, retried, in doubt, and a destination that is away. What message n is, its number alone decides, so that whoever
measures knows what is to be found.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Any, Final

from engine import reactor as engine_reactor
from engine.contracts import Runtime
from engine.events import silent
from engine.model import (
    Admission,
    Close,
    Delivered,
    Delivery,
    DeliveryState,
    Heading,
    MessageState,
    Outgoing,
    Refused,
    Retry,
    Settlement,
    Taken,
    Translation,
    Unknown,
)

BATCH: Final = 1000
AHEAD: Final = 4  # batches under way
SPACING: Final = 2_600_000  # microseconds between messages: a million is thirty days
PATIENTS: Final = 60_000
CHANNELS: Final = tuple(
    f"{feed}-{site}" for site in ("north", "south", "east", "west") for feed in ("adt", "lab", "charges", "orders", "rx")
)
KINDS: Final = {
    "adt": ("ADT^A01", "ADT^A08", "ADT^A03", "ADT^A04"),
    "lab": ("ORU^R01",),
    "charges": ("DFT^P03",),
    "orders": ("ORM^O01", "OMP^O09"),
    "rx": ("RDE^O11", "RDS^O13"),
}
DESTINATIONS: Final = tuple(f"{system}-{n}" for system in ("billing", "erp", "archive", "registry") for n in (1, 2, 3))
AWAY: Final = "erp-3"  # nobody is there: what goes to it in the end waits
BEHIND: Final = 20_000  # messages before the end, from which on it is away
_FAMILIES = (
    "Abernathy",
    "Brockhurst",
    "Castellane",
    "Dunmore",
    "Eastlake",
    "Farnsworth",
    "Greyfell",
    "Hollister",
    "Ingleby",
    "Jarndyce",
)
_GIVEN = (
    "Ada",
    "Bram",
    "Cosima",
    "Dorian",
    "Elspeth",
    "Florian",
    "Greta",
    "Hector",
    "Imogen",
    "Jasper",
    "Katinka",
    "Lorcan",
    "Maude",
)
_FINDINGS = (
    "chest pain unspecified", "essential hypertension", "type 2 diabetes mellitus", "acute upper respiratory infection", "low back pain",
    "atrial fibrillation", "iron deficiency anemia", "urinary tract infection", "major depressive disorder", "closed fracture of radius",
    "community acquired pneumonia", "migraine without aura", "hypothyroidism", "chronic kidney disease stage 3", "cellulitis of left leg",
)  # fmt: skip
_TEXT = (
    "patient reports mild discomfort after treatment and was advised to return if symptoms persist reviewed by attending no acute "
    "distress lungs clear to auscultation regular rate and rhythm abdomen soft non tender follow up in two weeks continue current "
    "medication laboratory values within normal limits repeat panel ordered imaging shows no evidence of new lesion"
)
_WORDS = _TEXT.split()


class Made:
    """Message `n`, whatever run makes it."""

    def __init__(self, n: int) -> None:
        chance = random.Random(n)
        self.n = n
        self.channel = CHANNELS[chance.randrange(len(CHANNELS))]
        self.kind = chance.choice(KINDS[self.channel.partition("-")[0]])
        self.patient = chance.randrange(PATIENTS)
        self.mrn, self.account, self.visit = f"M{self.patient:07}", f"A{self.patient * 7 + n % 7:08}", f"V{n // 3:08}"
        self.order = f"ORD{n:09}"
        self.control_id = f"{self.channel[:2].upper()}{n:09}"
        self.fate = chance.random()
        self.destinations = chance.sample(DESTINATIONS, 1 if chance.random() < 0.8 else 2)
        note = " ".join(chance.choices(_WORDS, k=40))
        self.finding = chance.choice(_FINDINGS)
        family, given = _FAMILIES[self.patient % 10], _GIVEN[self.patient % 13]
        app, site = self.channel.upper().split("-")
        self.content = (
            f"MSH|^~\\&|{app}|{site}|WARDLINE|GENERAL|20261101101500||{self.kind}|{self.control_id}|P|2.5.1\r"
            f"EVN||20261101101500\rPID|1||{self.mrn}^^^GENERAL^MR||{family}^{given}^{chr(65 + n % 26)}||19{n % 90 + 10}0{n % 9 + 1}14|F|||"
            f"{n % 400} Harbour Row^^Westbrook^ME^04092||^PRN^PH^^1^207^555{n % 10000:04}||||||{self.account}\r"
            f"PV1|1|I|W{n % 12}^{n % 40}^2||||1740^Lindqvist^Maren|||MED||||||||V|{self.visit}\r"
            f"ORC|NW|{self.order}\rDG1|1||I10^{self.finding}^I10\rOBX|1|TX|NOTE^Note||{note}||||||F\r"
        ).encode()
        self.product = (
            f'{{"schema":"charge/v1","patient":{{"mrn":"{self.mrn}","name":"{family}, {given}"}},"account":"{self.account}",'
            f'"order":"{self.order}","diagnosis":"{self.finding}","amount":{{"value":"{n % 900}.{n % 100:02}","currency":"USD"}}}}'
        ).encode()

    @property
    def state(self) -> MessageState:
        if self.fate < 0.005:
            return MessageState.REJECTED
        return MessageState.FILTERED if self.fate < 0.025 else MessageState.RECEIVED

    @property
    def parks(self) -> bool:
        return 0.025 <= self.fate < 0.028

    @property
    def twice(self) -> bool:
        """It is sent once more, at once."""
        return 0.1 <= self.fate < 0.11

    def admission(self, start: int) -> Admission:
        key = blake2b(f"{self.channel}\x1f{self.control_id}".encode(), digest_size=16).digest()
        heading = Heading(self.kind, self.control_id, self.channel.upper().replace("-", "|"), "2.5.1", "P")
        reason = {MessageState.REJECTED: "PID-3 is required: MSH-9 is ORU", MessageState.FILTERED: "test patient: MSH-11 is 'T'"}
        return Admission(
            self.channel, self.content, "10.1.2.3:50123", heading, start + self.n * SPACING, sha256(self.content).digest(),
            state=self.state, reason=reason.get(self.state, ""), dedupe_key=key,
        )  # fmt: skip

    def translation(self, taken: Taken) -> Translation:
        keys = (("mrn", self.mrn), ("account", self.account), ("visit", self.visit), ("order", self.order))
        if self.parks:
            reason = f"mapping: charge department: FT1-13.1 '{self.n % 100:03}' is not in the code table departments"
            return Translation(
                taken.message_id, self.channel, MessageState.PARKED, reason, "unknown_code", keys=keys, config="c0ffee",
                unknown=(("departments", f"{self.n % 100:03}", "FT1-13.1"),),
            )  # fmt: skip
        outgoings = tuple(
            Outgoing(
                f"to-{name}",
                name,
                self.product,
                "application/json",
                f"{taken.message_id}-{n}",
                (self.mrn,),
                self.order,
                "charge/v1",
            )
            for n, name in enumerate(self.destinations)
        )
        return Translation(
            taken.message_id, self.channel, MessageState.TRANSLATED, outgoings=outgoings, keys=keys, config="c0ffee"
        )


@dataclass
class Filling:
    """One store being filled with messages `0` to `messages`, the last of them received now."""

    store: Any
    messages: int
    start: int
    say: Callable[[str], None]
    answers: dict[str, int] = field(default_factory=dict)

    async def all_of_it(self) -> None:
        from twisted.internet.defer import Deferred, ensureDeferred

        under_way: list[Deferred[None]] = []
        began = time.monotonic()
        for first in range(0, self.messages, BATCH):
            under_way.append(ensureDeferred(self.batch([Made(n) for n in range(first, min(first + BATCH, self.messages))])))
            if len(under_way) >= AHEAD:
                await under_way.pop(0)
            if first % 50_000 == 0:
                self.say(f"{first:,} of {self.messages:,} after {time.monotonic() - began:.0f} s")
        for one in under_way:
            await one
        for _ in range(3):
            await self.deliver()

    async def batch(self, made: list[Made]) -> None:
        from twisted.internet.defer import gatherResults

        again = [one for one in made if one.twice]
        taken = await gatherResults([self.store.take(one.admission(self.start)) for one in made + again])
        by_channel: dict[str, list[Translation]] = {}
        for one, fact in zip(made, taken, strict=False):
            if one.state is MessageState.RECEIVED:
                by_channel.setdefault(one.channel, []).append(one.translation(fact))
        await gatherResults([self.store.translated(many) for many in by_channel.values()])
        away = made[-1].n >= self.messages - BEHIND
        await self.deliver(away)

    async def deliver(self, away: bool = True) -> None:
        from twisted.internet.defer import gatherResults

        names = [name for name in DESTINATIONS if not (away and name == AWAY)]
        begun = await gatherResults([self.store.take_due(name, 500, 16) for name in names])
        settlements = [self.settlement(one) for many in begun for one in many]
        if settlements:
            await self.store.attempted(settlements)

    def settlement(self, one: Delivery) -> Settlement:
        at = one.created_at + 40_000
        fate = random.Random(one.id).random()
        if fate < 0.002:
            refused = Refused("AE: account unknown to billing", b"MSA|AE|1")
            return Settlement(one, refused, Close(DeliveryState.PARKED, refused.reason), at, at + 9000)
        if fate < 0.01 and one.attempts == 1:
            return Settlement(one, Unknown("no answer within 30 s"), Retry(at), at, at + 30_000_000)
        return Settlement(
            one,
            Delivered(b"MSH|^~\\&|ERP|GENERAL\rMSA|AA|" + one.identity.encode()),
            Close(DeliveryState.DELIVERED),
            at,
            at + 9000,
        )


def fill(url: str, messages: int, say: Callable[[str], None]) -> None:
    """Fill an empty store. Raises what the store raises."""
    from twisted.internet.defer import ensureDeferred

    from engine.store import open_store

    reactor = engine_reactor.install()
    reactor.startRunning(installSignalHandlers=False)
    loop = engine_reactor.loop_of(reactor)
    runtime = Runtime(reactor, None, silent, lambda: time.time_ns() // 1000, random.Random(7))  # type: ignore[arg-type]

    async def run() -> None:
        store, _ = open_store(url, runtime, lambda error: say(f"FAILED: {error}"))
        await Filling(store, messages, time.time_ns() // 1000 - messages * SPACING, say).all_of_it()
        await store.close()

    loop.run_until_complete(ensureDeferred(run()).asFuture(loop))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.big_store", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    fill(options.url, options.messages, lambda text: print(text, file=sys.stderr, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
