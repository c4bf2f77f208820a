"""Where a message stands, in a sentence, and what to do now: for whoever reads it at three in the morning."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.text import counted, listed
from engine.views import reasons
from engine.views.timeline import waits_for
from engine.views.way import Sent, Way

_WORST: Final = ("parked", "expired", "sending", "waiting", "cancelled", "delivered")


class Advice(NamedTuple):
    state: str  # of the message and all its deliveries together
    headline: str
    why: str  # the reason, as the store has it
    todo: str
    verbs: tuple[str, ...] = ()  # what people can do here: release, cancel, resend, replay; the best first
    code: tuple[str, str] = ("", "")  # (table, value) that is missing
    file: str = ""  # `mappings/dft-to-charge.yaml`, where the reason names one
    line: int = 0
    place: str = ""  # in the message as it was received
    destination: str = ""  # that a person must let go on


def advice(way: Way) -> Advice:
    row = way.facts.row
    found = _OF_STATE.get(row.state, _translated)(way)
    named = reasons.file(found.why)
    file = (named.file, named.line) if named else ("", 0)
    return found._replace(file=file[0], line=file[1], place=reasons.place(found.why))


def _received(way: Way) -> Advice:
    text = "Nothing: it goes on by itself within moments. If it does not, look whether the engine and its channel run."
    return Advice("received", "Stored and acknowledged; it waits to be translated.", "", text)


def _rejected(way: Way) -> Advice:
    text = (
        "Have the sender correct it and send it again. If the rule is wrong, correct the channel's file; then ask for it again, "
        "or replay it."
    )
    return Advice("rejected", "Refused: nothing of it went out, and the sender knows.", way.facts.row.reason, text, ("replay",))


def _filtered(way: Way) -> Advice:
    row = way.facts.row
    if row.reason.startswith("cancelled"):
        return Advice("cancelled", "A person ended it: nothing of it went out.", row.reason, "Nothing.", ("replay",))
    text = "Nothing, if that is right. If it should have gone out, correct the rule that is named, and replay it."
    return Advice("filtered", "Accepted, and wanted by no route: nothing went out.", row.reason, text, ("replay",))


def _duplicate(way: Way) -> Advice:
    text = "Nothing: the first one was taken, and this one got the same answer. What became of it stands with the original."
    return Advice("duplicate", "A re-send of a message that was here before.", "", text)


def _parked(way: Way) -> Advice:
    row = way.facts.row
    safe = "Nothing of it went out, and nothing is lost."
    if way.waited_for or row.park_reason == "unknown_code":
        code = way.waited_for[0][:2] if way.waited_for else ("", "")
        text = "Add the row: this message, and all that wait for the same code, go on by themselves and in order."
        return Advice("parked", f"A code is missing. {safe}", row.reason, text, ("release", "cancel"), code)
    if row.park_reason == "poison":
        text = "It is not the content's fault. Keep it, and tell the authors of Wardline; releasing it tries once more."
        return Advice("parked", f"Translating it failed. {safe}", row.reason, text, ("release", "cancel"))
    text = "Correct the mapping and release it, or have the sender correct the message and send it again, and cancel this one."
    return Advice("parked", f"Its mapping could not make a field. {safe}", row.reason, text, ("release", "cancel"))


def _translated(way: Way) -> Advice:
    row = way.facts.row
    if row.kind == "batch" and not way.sent:
        return Advice("translated", "A batch: each message in it goes its own way.", row.reason, "Look at its parts.")
    current = [one for one in way.sent if not one.earlier] or list(way.sent)
    if not current:
        return Advice("translated", "Translated; nothing was to be sent.", row.reason, "Nothing.", ("replay",))
    state = min((one.row.state for one in current), key=_WORST.index)
    those = [one for one in current if one.row.state == state]
    return _OF_DELIVERIES[state](those, way)


def _names(ones: list[Sent]) -> str:
    return listed(dict.fromkeys(one.row.destination for one in ones))


def _refused(ones: list[Sent], way: Way) -> Advice:
    text = (
        "Read the answer below. When the receiver has mended it, release: it goes out again under its old identity, before "
        "everything younger in its lane. If it must never arrive, cancel it."
    )
    doubt = " It may have arrived." if any(one.row.in_doubt for one in ones) else ""
    return Advice(
        "parked", f"{_names(ones)} did not take it.{doubt}", ones[0].row.reason, text, ("release", "cancel"),
        destination=ones[0].row.destination,
    )  # fmt: skip


def _expired(ones: list[Sent], way: Way) -> Advice:
    text = "See that the receiver is there again, and resend it: the same bytes under the same identity."
    return Advice("expired", f"Given up: {_names(ones)} did not take it in time.", ones[0].row.reason, text, ("resend", "replay"))


def _cancelled(ones: list[Sent], way: Way) -> Advice:
    text = "Nothing. If it is to go out after all, resend it."
    return Advice("cancelled", f"Ended by a person, for {_names(ones)}.", ones[0].row.reason, text, ("resend", "replay"))


def _sending(ones: list[Sent], way: Way) -> Advice:
    return Advice("sending", f"On its way to {_names(ones)} now.", "", "Nothing: the answer comes within the time-out.")


def _waiting(ones: list[Sent], way: Way) -> Advice:
    first = ones[0]
    to = first.row.destination
    state = way.destinations.get(to)
    doubt = " An earlier attempt may have arrived; it has the same identity." if first.row.in_doubt else ""
    if state is not None and state.state in ("held", "paused"):
        mend = "Mend what is named, then resume it." if state.state == "held" else "Resume it when the receiver is ready."
        return Advice("waiting", f"Waits, because {to} is {state.state}.{doubt}", state.reason, mend, ("cancel",), destination=to)
    if first.attempts:
        tried = counted(first.row.attempts, "attempt")
        text = "Nothing at once: it is tried again by itself. If the receiver is gone for good, cancel it."
        return Advice("waiting", f"Not delivered to {to} yet, after {tried}.{doubt}", first.row.reason, text, ("cancel",))
    text = "Nothing: its turn comes by itself. What stands before it is named in the timeline."
    return Advice("waiting", f"Waits for its turn at {_names(ones)}.{doubt}", waits_for(first, way), text, ("cancel",))


def _delivered(ones: list[Sent], way: Way) -> Advice:
    text = "Nothing. To send it once more: resend gives the same bytes and identity, replay translates it by today's mapping."
    return Advice("delivered", f"Delivered to {_names(ones)}.", "", text, ("resend", "replay"))


_OF_STATE: Final = {
    "received": _received, "rejected": _rejected, "filtered": _filtered, "duplicate": _duplicate, "parked": _parked,
}  # fmt: skip
_OF_DELIVERIES: Final = {
    "parked": _refused, "expired": _expired, "sending": _sending, "waiting": _waiting, "cancelled": _cancelled,
    "delivered": _delivered,
}  # fmt: skip
