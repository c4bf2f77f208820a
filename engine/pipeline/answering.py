"""Application acknowledgements: what became of a message, told to its sender as one more delivery of the same transaction."""

from __future__ import annotations

from typing import Final

from engine.contracts import Channel
from engine.errors import ContentError
from engine.ids import format_id
from engine.model import Message, MessageState, Outgoing, Receipt, Translation, Verdict

ROUTE: Final = "ack.application"  # no route of a site can be called so


def with_answer(channel: Channel, message: Message, done: Translation, fault: ContentError | None = None) -> Translation:
    """`done` with the application acknowledgement, where the channel has a destination for it and the message asks for one.

    A message that parks is answered with what is wrong, and once more when it was released and went out. A replay is our
    own doing: its sender has had its answer.
    """
    answer = getattr(channel.format, "answer", None)
    if not channel.answers_to or answer is None or message.replay_of:
        return done
    parked = done.state is MessageState.PARKED
    identity = f"{format_id(message.id)}-{'E' if parked else 'A'}"
    receipt = Receipt(Verdict.ACCEPTED, message.id, message.received_at)
    if parked and fault is not None:
        receipt = receipt._replace(verdict=Verdict.REFUSED, reason=fault.problem, place=fault.place, code=fault.code)
    elif parked:
        receipt = receipt._replace(verdict=Verdict.REFUSED, reason="it could not be processed here", code="207")
    content = answer(message.content, receipt, identity)
    if content is None:
        return done
    outgoing = Outgoing(ROUTE, channel.answers_to, content, channel.format.content_type, identity, kind="ACK")
    return done._replace(outgoings=(*done.outgoings, outgoing))
