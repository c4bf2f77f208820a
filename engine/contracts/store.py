"""The only place where stages meet."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from engine.model import (
    Acted,
    Action,
    Admission,
    ChannelState,
    Delivery,
    DestinationState,
    Message,
    Pruned,
    RefusedFrame,
    Settlement,
    Taken,
    Translation,
    Verdicts,
    Walk,
)


class Counted(NamedTuple):
    """How often something happened at a channel or a destination, or how long it took in all."""

    noun: str  # `channel` or `destination`
    name: str
    what: str
    amount: int  # times, or microseconds


class Request(NamedTuple):
    """What somebody on another host asks of the engine, through the store."""

    token: str
    verb: str
    arguments: str  # JSON
    who: str
    epoch: int  # of the engine that has taken it; 0: none yet
    age: int  # microseconds since it was asked


class Store(Protocol):
    """The only place where stages meet. Every verb is durable (fsync) before its Deferred fires, in the reactor thread.

    Verbs are group-committed: the writer collects what arrived while the last commit was under way (no timer; at most
    500 items and 8 MiB), runs each verb once over its batch, commits, then answers every caller. Within one commit the
    order is: `attempted`, `translated`, `act`, `take`, `take_due`, `refuse`. A batch that fails on its data is retried one
    item at a time, so that a poison row hurts only its own caller. A storage failure fails every waiting Deferred with
    StoreError, calls `on_failure` once, and no verb succeeds after it.
    """

    def take(self, admission: Admission) -> Deferred[Taken]:
        """Store an arrival. A re-send (same dedupe key and digest in the channel) is recorded as `duplicate` without a
        body and answered with the original's facts; the same key with another digest is taken and flagged. The parts of a
        batch are taken with it, each deduped on its own; a batch that comes again gets the answers of its parts again."""

    def translated(self, translations: Sequence[Translation]) -> Deferred[None]:
        """Record what became of messages of one channel, in sequence, with all their deliveries, lanes and index rows.
        Each must be `received`: one that was recorded and not released since is refused."""

    def take_due(self, destination: str, room: int, window: int) -> Deferred[list[Delivery]]:
        """Begin up to `room` deliveries: heads of lanes that are due, and up to `window` successive ones of one lane
        (adjacent in the answer, in order). Their attempt rows are durable when this fires. A delivery that stands in
        several lanes begins only when it heads all of them."""

    def attempted(self, settlements: Sequence[Settlement]) -> Deferred[None]:
        """Record the ends of attempts and advance their lanes. Fenced: an attempt of another epoch changes nothing.
        Retry keeps the delivery at the head of its lane, due at the given instant; Withdrawn is as if never begun."""

    def act(self, action: Action) -> Deferred[Acted]:
        """Release, cancel, resend or replay. Released messages are `received` again, with their old ids; released
        deliveries take their old place in their lanes. A resend is a new delivery row of the same identity and content
        (`resend_of`), at the end of its lanes. A replay is a new message (`replay_of`) without a dedupe key. Who claims
        messages by a cursor begins again at 0 for the `channels` of the answer."""

    def refuse(self, frame: RefusedFrame) -> Deferred[None]:
        """Keep it in the channel's ring, the oldest of which goes."""

    def steer(self, destination: str, state: DestinationState, reason: str = "") -> Deferred[None]:
        """Pause, hold or start a destination; it stays so when the engine is started again."""

    def steer_channel(self, channel: str, state: ChannelState, reason: str = "") -> Deferred[None]:
        """Note a channel's state, so that it is in it when the engine is started again."""

    def tally(self, at: int, counted: Sequence[Counted]) -> Deferred[None]:
        """Add to the counts of the minute and of the hour that the instant `at` is in."""

    def requests(self) -> Deferred[list[Request]]:
        """What people on other hosts ask of the engine and nobody has answered, the oldest first."""

    def take_request(self, asked: Request) -> Deferred[int]:
        """Under which epoch it is this engine's; 0: it was withdrawn, or another engine was faster."""

    def answer_request(self, token: str, answer: str) -> Deferred[None]:
        """The answer to one that is this engine's: JSON."""

    def settled(self, channel: str) -> Deferred[bool]:
        """Whether nothing of `channel` waits to be translated or delivered; what is parked waits for people."""

    def untranslated(self, channel: str, after: int, limit: int) -> Deferred[list[Message]]:
        """Messages of `channel` in state received with an id above `after`, in order, with their content. Fails with
        StoreError, and so does every verb after it, where content is not what was stored."""

    def verdicts(self, messages: Sequence[int]) -> Deferred[dict[int, Verdicts]]:
        """How far these messages have come."""

    def next_due(self, destination: str) -> Deferred[int]:
        """The instant at which the earliest idle lane of `destination` falls due; 0 when none waits."""

    def prune(self, walk: Walk, cutoffs: MappingABC[str, int], after: int, limit: int) -> Deferred[Pruned]:
        """Forget a slice of what was received before its channel's cutoff (an instant; 0: nothing) and has come to its end:
        `limit` rows above the id `after` are looked at. The channel '' stands for those that are not named."""

    def shrink(self, whole: bool) -> Deferred[bool]:
        """Give a piece of the database's free pages back to the disk; `whole`: not only what is beyond a reserve. False:
        there is no more to give, or the database does so by itself."""

    def close(self) -> Deferred[None]:
        """Finish the commit under way, checkpoint, release the lock. Verbs submitted after it fail."""
