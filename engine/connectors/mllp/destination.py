"""Sends over MLLP: one message in flight on each connection, and an acknowledgement that must name it."""

from __future__ import annotations

from functools import cached_property

from engine import registry
from engine.answers import otherwise
from engine.connectors.mllp import ConnectOptions
from engine.connectors.mllp.framing import END, START, Deframer
from engine.contracts import Format, Runtime
from engine.links import Link, Links, missed
from engine.model import Busy, Delivered, Delivery, Misconfigured, Outcome, Refused, Unknown
from engine.quantities import format_duration
from engine.tlsclient import Credentials


class AckLink(Link[bytes]):
    """A connection to a receiver. One frame after each message is its acknowledgement; any other costs the connection."""

    def __init__(self, links: Links[AckLink], max_frame: int) -> None:
        super().__init__(links)
        self._deframer = Deframer(max_frame)

    def dataReceived(self, data: bytes) -> None:
        events = self._deframer.receive(data)
        if not events and (self.waiting or not self._deframer.partial):
            return  # the rest is still to come, or a line end after the last frame
        acknowledgement = events[0] if events and self.waiting else None
        if len(events) != 1 or self._deframer.partial or type(acknowledgement) is not bytes:
            self.spoil()
        if type(acknowledgement) is bytes:
            self.answered(acknowledgement)
        elif self.waiting:
            self.answered(Unknown(f"the answer is no MLLP frame: {events[0].reason}"))  # type: ignore[union-attr]

    def late(self) -> str:
        strange = self._deframer.close()
        return f"no acknowledgement within {format_duration(self._timeout)}" + (
            f", only {strange[0].size} bytes that are no MLLP frame" if strange else ""  # type: ignore[union-attr]
        )


class MllpDestination:
    """`contracts.Destination`."""

    def __init__(self, options: ConnectOptions, runtime: Runtime, name: str) -> None:
        self.concurrency = options.connections
        self._keep_open, self._timeout = options.keep_open, options.ack_timeout
        self._answers = options.answers
        self._links: Links[AckLink] = Links(
            runtime, lambda links: AckLink(links, options.max_frame), options.connect, options.connect_timeout,
            Credentials(options.tls) if options.tls is not None else None,
        )  # fmt: skip

    @cached_property
    def _format(self) -> Format:
        return registry.formats()["hl7v2"].build()

    async def send(self, delivery: Delivery) -> Outcome:
        try:
            link = await self._links.take()
        except OSError as problem:
            return missed(problem)
        answer = await link.exchange(START + delivery.content + END, self._timeout)
        if isinstance(answer, Misconfigured):
            return answer
        outcome = answer if type(answer) is Unknown else self._judge(delivery.content, answer)  # type: ignore[arg-type]
        # Only an answer that belongs to what was sent proves that the two sides are in step.
        if type(outcome) in (Delivered, Refused, Busy) and self._keep_open:
            self._links.give(link)
        elif type(outcome) is Unknown:
            link.spoil()
        else:
            link.close()
        return self._meant(outcome) if self._answers and isinstance(outcome, (Refused, Busy)) else outcome

    def _meant(self, outcome: Refused | Busy) -> Outcome:
        """As `answers:` has it: what is said of a code comes before what is said of all."""
        action = self._answers.get(outcome.code) or self._answers.get(outcome.code.partition("/")[0])
        return otherwise(outcome, action)

    def _judge(self, content: bytes, acknowledgement: bytes) -> Outcome:
        try:
            return self._format.judge(content, acknowledgement)
        except Exception as problem:  # a reply is hostile data: what cannot be judged is unknown
            return Unknown(f"the acknowledgement cannot be read ({type(problem).__name__})", acknowledgement)

    async def check(self) -> str:
        return await self._links.probe()

    async def stop(self) -> None:
        await self._links.stop()
