"""What waits for people: parked messages and deliveries by cause, refused frames, and what is in doubt; and who has it."""

from __future__ import annotations

from pydantic import Field

from engine.console.answers import Done, NotFound
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Nothing, Told
from engine.console.pages.codes import codes_that_wait
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.console.working import work
from engine.operations.worklists import LONGEST_NOTE, Group, Taken, grouped
from engine.store.frames import MOST

FRAMES = 200  # refused frames in the list
DOUBTS = 200
WIDTH = 16  # bytes of a line of hex
KINDS = {
    "mapping": "a field could not be made, or the result does not fit",
    "unknown_code": "a code table has no row",
    "refused": "the receiver said no",
    "poison": "it failed in a way that is not the content's fault",
    "waits_for": "it waits for another message",
}


class Line(Told):
    """What is parked for one cause."""

    key: str
    kind: str
    kind_said: str
    channel: str
    destination: str
    cause: str
    place: str
    reason: str
    things: int
    first: MessageId
    oldest: Instant
    newest: Instant
    in_doubt: int
    owner: str  # of the channel, by its file
    taken_by: str
    note: str
    taken_at: Instant
    releasable: bool


class Parked(Told):
    messages: list[Line]
    deliveries: list[Line]
    mine: bool
    may_assign: bool


class Overview(Told):
    parked_messages: int
    message_causes: int
    parked_deliveries: int
    delivery_causes: int
    codes: int
    waiting_for_codes: int
    refused: int
    doubts: int
    oldest: Instant


@door("GET", "/worklists", Right.SEE, Scope.SOME, "view worklists", page="worklists.html", api="/worklists")
def overview(visit: Visit, asked: Nothing) -> Overview:
    """How much waits for people, by list."""
    messages, deliveries = _messages(visit), _deliveries(visit)
    codes = codes_that_wait(visit)
    return Overview(
        parked_messages=sum(group.things for group in messages),
        message_causes=len(messages),
        parked_deliveries=sum(group.things for group in deliveries),
        delivery_causes=len(deliveries),
        codes=len(codes),
        waiting_for_codes=sum(row.waiting for row in codes),
        refused=len(_frames(visit)),
        doubts=len(_doubts(visit)),
        oldest=min((group.oldest for group in [*messages, *deliveries]), default=0),
    )


class ParkedAsked(Asked):
    mine: bool = False


@door("GET", "/worklists/parked", Right.SEE, Scope.SOME, "view parked", page="parked.html", api="/worklists/parked")
def parked(visit: Visit, asked: ParkedAsked) -> Parked:
    """What is parked, a line for each cause, those that have waited longest first."""
    taken = work(visit.home).assignments.all()
    lines = [[_line(visit, group, taken.get(group.key)) for group in found] for found in (_messages(visit), _deliveries(visit))]
    if asked.mine:
        lines = [[line for line in some if line.taken_by == visit.who.name] for some in lines]
    return Parked(messages=lines[0], deliveries=lines[1], mine=asked.mine, may_assign=visit.who.somewhere(Right.EDIT))


def _messages(visit: Visit) -> list[Group]:
    return grouped(row for row in visit.history.parked_messages() if visit.may(Right.SEE, row.channel))


def _deliveries(visit: Visit) -> list[Group]:
    return grouped(row for row in visit.history.parked_deliveries() if visit.may(Right.SEE, row.channel))


def _line(visit: Visit, group: Group, taken: Taken | None) -> Line:
    channel = visit.site.channels.get(group.channel)
    first = group.first
    if group.destination:
        first = min(visit.history.messages_of([group.first]), default=0)
    return Line(
        key=group.key,
        kind=group.kind,
        kind_said=KINDS.get(group.kind, ""),
        channel=group.channel,
        destination=group.destination,
        cause=group.cause,
        place=group.place,
        reason=group.reason,
        things=group.things,
        first=first,
        oldest=group.oldest,
        newest=group.newest,
        in_doubt=group.in_doubt,
        owner=channel.owner if channel else "",
        taken_by=taken.who if taken else "",
        note=taken.note if taken else "",
        taken_at=taken.at if taken else 0,
        releasable=visit.may(Right.ACT, group.channel),
    )


class Assigning(Asked):
    key: str = Field(max_length=32)
    who: str = Field("", max_length=100)
    note: str = Field("", max_length=LONGEST_NOTE)


class Assigned(Told):
    key: str
    who: str


@door("POST", "/worklists/assign", Right.EDIT, Scope.SOME, "assign", api="/worklists/assign")
def assign(visit: Visit, asked: Assigning) -> Done[Assigned]:
    """Say who looks after a line of the worklist, and what is known of it. Neither: nobody does."""
    for group in [*_messages(visit), *_deliveries(visit)]:
        if group.key == asked.key:
            visit.require(Right.EDIT, group.channel)
            work(visit.home).assignments.assign(asked.key, asked.who.strip(), asked.note.strip(), visit.who.name)
            visit.note(f"{group.kind} {group.channel}", to=asked.who.strip())
            said = f"{asked.who.strip()} has it now." if asked.who.strip() else "Nobody has it now."
            return Done("/worklists/parked", said, Assigned(key=asked.key, who=asked.who.strip()))
    raise NotFound("Nothing is parked for this cause any more.")


# ── refused frames ─────────────────────────────────────────────────────────────────────────────────────────────────


class Frame(Told):
    number: int
    channel: str
    received_at: Instant
    peer: str
    reason: str
    size: int
    kept: int
    readable: bool


class Frames(Told):
    frames: list[Frame]
    most: int


class HexLine(Told):
    at: str
    hexes: str
    text: str


class FrameTold(Told):
    frame: Frame
    lines: list[HexLine]
    whole: bool
    next: int


@door("GET", "/worklists/refused", Right.SEE, Scope.SOME, "view refused frames", page="refused.html", api="/refused")
def refused(visit: Visit, asked: Nothing) -> Frames:
    """Bytes that came over a connection and were no message, newest first. Nothing of them was acknowledged."""
    return Frames(frames=_frames(visit), most=MOST)


def _frames(visit: Visit) -> list[Frame]:
    rows = (row for row in visit.history.refused(limit=FRAMES) if visit.may(Right.SEE, row.channel))
    return [
        Frame(
            number=row.id, channel=row.channel, received_at=row.received_at, peer=row.peer, reason=row.reason, size=row.size,
            kept=len(row.content), readable=visit.may(Right.READ, row.channel),
        )
        for row in rows
    ]  # fmt: skip


class FrameAsked(Asked):
    number: int = Field(ge=0, le=2**62)
    start: int = Field(0, ge=0, le=1 << 20)


@door(
    "GET", "/worklists/refused/{number}", Right.READ, Scope.SOME, "read refused frame", page="frame.html", api="/refused/{number}"
)
def frame(visit: Visit, asked: FrameAsked) -> FrameTold:
    """What a sender really sent, in hex."""
    found = visit.history.refused(limit=1, before=asked.number + 1)
    if not found or found[0].id != asked.number:
        raise NotFound("There is no refused frame of this number (any more): newer ones take the place of the oldest.")
    row = found[0]
    visit.require(Right.READ, row.channel)
    visit.note(f"refused {row.id}", channel=row.channel)
    part = row.content[asked.start : asked.start + 4096]
    told = Frame(
        number=row.id, channel=row.channel, received_at=row.received_at, peer=row.peer, reason=row.reason, size=row.size,
        kept=len(row.content), readable=True,
    )  # fmt: skip
    more = asked.start + 4096
    return FrameTold(
        frame=told,
        lines=[_hex(part[at : at + WIDTH], asked.start + at) for at in range(0, len(part), WIDTH)],
        whole=row.size == len(row.content),
        next=more if more < len(row.content) else 0,
    )


def _hex(part: bytes, at: int) -> HexLine:
    text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in part)
    return HexLine(at=f"{at:06x}", hexes=f"{part[:8].hex(' ')}  {part[8:].hex(' ')}", text=text)


# ── in doubt ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Doubt(Told):
    delivery: MessageId
    message: MessageId
    channel: str
    destination: str
    state: str
    attempts: int
    since: Instant
    reason: str


class Doubts(Told):
    doubts: list[Doubt]
    most: int


@door("GET", "/worklists/doubt", Right.SEE, Scope.SOME, "view doubt", page="doubt.html", api="/worklists/doubt")
def doubt(visit: Visit, asked: Nothing) -> Doubts:
    """Deliveries that may have arrived, and nobody has said so."""
    return Doubts(doubts=_doubts(visit), most=DOUBTS)


def _doubts(visit: Visit) -> list[Doubt]:
    return [
        Doubt(
            delivery=row.delivery_id, message=row.message_id, channel=row.channel, destination=row.destination, state=row.state,
            attempts=row.attempts, since=row.since, reason=row.reason,
        )
        for row in visit.history.in_doubt(DOUBTS)
        if visit.may(Right.SEE, row.channel)
    ]  # fmt: skip
