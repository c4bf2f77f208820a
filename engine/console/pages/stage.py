"""The contents of a message: what came, what was sent, what was answered; each formatted, as fields, as text, as bytes; and
what differs between two of them. Bodies are read here and nowhere else, by those who have the right, and it is noted."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from engine.console.answers import Download, Invalid, NotFound, Shown
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Told
from engine.console.pages.message import Hostile, HostileOrNone, Mode, StageLine, _stage, found
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.ids import format_id
from engine.store.history import History
from engine.views import lines, marks, plain
from engine.views.compare import compared
from engine.views.content import READ, as_text, kind_of, opened
from engine.views.lines import Line, Reading, covers, sections
from engine.views.siblings import previous
from engine.views.stages import Stage, content_of, find, owner_of, stages

HEX_BYTES: Final = 2048  # on one page
PREVIOUS: Final = "previous"  # in place of a stage: what came with the message before of the same keys


class PieceTold(Told):
    text: Hostile
    path: Hostile = ""
    name: str = ""
    role: str = ""
    meant: Hostile = ""
    more: int = 0
    fault: bool = False  # it is the place that was asked for

    @property
    def runs(self) -> list[marks.Run]:
        return marks.runs(self.text)

    @property
    def meaning(self) -> list[marks.Run]:
        return marks.runs(self.meant or self.text)


class LineTold(Told):
    label: Hostile
    name: str
    depth: int
    pieces: list[PieceTold]
    more: int
    fault: bool = False


class SectionTold(Told):
    title: str
    items: list[LineTold | SectionTold]


class RowTold(Told):
    offset: int
    hexadecimal: str
    text: str


class StageTold(Told):
    id: MessageId
    channel: str
    stage: StageLine
    stages: list[StageLine]
    mode: Mode
    kind: str  # hl7v2, x12, json, xml, text
    title: str
    kept: bool  # false: retention has removed it
    notes: list[str]
    start: int
    next: int | None
    items: list[LineTold | SectionTold] = []
    rows: list[RowTold] = []
    at: str = ""

    @property
    def lines(self) -> list[LineTold]:
        """Without the groups around them."""
        return _flat(self.items)


class StageAsked(Asked):
    id: MessageId
    stage: str = Field(max_length=60)
    mode: Mode = ""
    start: int = Field(0, ge=0, le=1 << 40)
    at: str = Field("", max_length=200)
    more: bool = False  # the lines that follow, alone


@door(
    *("GET", "/messages/{id}/stage/{stage}", Right.READ, Scope.MESSAGE, "read body"),
    page="message_stage.html",
    fragment="_stage.html",
    api="/messages/{id}/stages/{stage}",
)
def message_stage(visit: Visit, asked: StageAsked) -> StageTold:
    """The content of one stage: `in`, a delivery's or an answer's. A page of it, with paths and the standard's names."""
    way = found(visit, asked.id)
    known = stages(way)
    stage = find(known, asked.stage)
    if stage is None:
        raise NotFound("This message has no such stage.")
    visit.note(stage=stage.key, mode=asked.mode)
    told = StageTold(
        id=asked.id, channel=way.facts.row.channel, stage=_stage(stage), stages=[_stage(one) for one in known], mode=asked.mode,
        kind="", title="", kept=True, notes=[], start=asked.start, next=None, at=asked.at,
    )  # fmt: skip
    shown = _bytes(visit.history, stage, told) if asked.mode == "hex" else _lines(visit.history, stage, told)
    return Shown(shown, "_lines.html") if asked.more else shown  # type: ignore[return-value]


def _bytes(history: History, stage: Stage, told: StageTold) -> StageTold:
    start = told.start - told.start % plain.WIDTH
    content = content_of(history, stage, start, HEX_BYTES)
    if content is None:
        return told.model_copy(update={"kept": False})
    rows = [RowTold(**row._asdict()) for row in plain.hexadecimal(content, start)]
    following = start + HEX_BYTES if start + HEX_BYTES < stage.size else None
    return told.model_copy(update={"rows": rows, "start": start, "next": following, "kind": "bytes", "title": "bytes"})


def _lines(history: History, stage: Stage, told: StageTold) -> StageTold:
    content = content_of(history, stage)
    if content is None:
        return told.model_copy(update={"kept": False})
    reading = as_text(content, stage.size) if told.mode == "text" else opened(content, stage.size, stage.content_type)
    notes = list(reading.notes)
    start = told.start
    at = told.at if told.mode != "text" else ""
    label = ""
    if at:
        place = reading.find(at)
        if place is None:
            notes.append(f"{at} is not in this content.")
        else:
            number, label = place
            if label:
                notes.append(f"{at} is empty: nothing was sent there.")
            start = start or (0 if number < lines.LINES // 4 else number - 10)
    page = reading.page(start)
    marked = [_line(line, at, label) for line in page.lines]
    items = _sections(marked, page.lines) if told.mode == "" else marked
    return told.model_copy(
        update={
            "kind": reading.kind, "title": marks.plain(reading.title), "notes": notes, "items": items, "start": page.start,
            "next": page.next,
        }
    )  # fmt: skip


def _line(line: Line, at: str, label: str) -> LineTold:
    pieces = [PieceTold.model_construct(**piece._asdict(), fault=not label and covers(at, piece.path)) for piece in line.pieces]
    fault = bool(label) and line.label == label
    return LineTold.model_construct(
        label=line.label, name=line.name, depth=line.depth, pieces=pieces, more=line.more, fault=fault
    )


def _sections(told: list[LineTold], page: tuple[Line, ...]) -> list[LineTold | SectionTold]:
    waiting = iter(told)

    def made(items: tuple[Line | lines.Section, ...]) -> list[LineTold | SectionTold]:
        return [
            SectionTold.model_construct(title=item.title, items=made(item.items))
            if isinstance(item, lines.Section)
            else next(waiting)
            for item in items
        ]

    return made(sections(page))


def _flat(items: list[LineTold | SectionTold]) -> list[LineTold]:
    found: list[LineTold] = []
    for item in items:
        found += _flat(item.items) if isinstance(item, SectionTold) else [item]
    return found


# ── exact bytes ────────────────────────────────────────────────────────────────────────────────────────────────────


class RawAsked(Asked):
    id: MessageId
    stage: str = Field("in", max_length=60)


@door("GET", "/messages/{id}/raw", Right.READ, Scope.MESSAGE, "download body", api="/messages/{id}/raw")
def message_raw(visit: Visit, asked: RawAsked) -> Download:
    """Exactly the bytes of one stage, as a file."""
    way = found(visit, asked.id)
    stage = find(stages(way), asked.stage)
    if stage is None:
        raise NotFound("This message has no such stage.")
    visit.note(stage=stage.key)
    begin = content_of(visit.history, stage, 0, 64)
    if begin is None:
        raise NotFound("This content is kept no longer: it is older than the channel's retention.")
    name = f"{format_id(asked.id)}-{stage.key}{_EXTENSIONS[kind_of(begin, stage.content_type)]}"
    if stage.attempt:
        reply = content_of(visit.history, stage, 0, stage.size)
        return Download(name, "application/octet-stream", [reply or b""])
    return Download(name, "application/octet-stream", visit.history.pieces(owner_of(visit.history, stage)))


_EXTENSIONS: Final = {"hl7v2": ".hl7", "x12": ".x12", "json": ".json", "xml": ".xml", "text": ".txt"}


# ── what differs ───────────────────────────────────────────────────────────────────────────────────────────────────


class DiffAsked(Asked):
    id: MessageId
    old: str = Field(PREVIOUS, max_length=60)
    new: str = Field("in", max_length=60)


class ChangeTold(Told):
    path: Hostile
    name: str
    old: HostileOrNone
    new: HostileOrNone

    @property
    def old_runs(self) -> list[marks.Run]:
        return marks.runs(self.old or "")

    @property
    def new_runs(self) -> list[marks.Run]:
        return marks.runs(self.new or "")


class DiffTold(Told):
    id: MessageId
    stages: list[StageLine]
    old: str
    new: str
    before: MessageId  # the message before, where it is compared with
    before_at: Instant
    by: str  # field, line; '' where there is nothing to compare
    changes: list[ChangeTold] = []
    same: int = 0
    more: int = 0
    notes: list[str] = []


@door(
    *("GET", "/messages/{id}/diff", Right.READ, Scope.MESSAGE, "compare bodies"),
    page="message_diff.html",
    fragment="_diff.html",
    api="/messages/{id}/diff",
)
def message_diff(visit: Visit, asked: DiffAsked) -> DiffTold:
    """What differs between two stages; `old=previous` is what came with the message before of the same business keys."""
    way = found(visit, asked.id)
    known = stages(way)
    new = find(known, asked.new)
    told = DiffTold(
        id=asked.id, stages=[_stage(one) for one in known], old=asked.old, new=asked.new, before=0, before_at=0, by=""
    )
    if new is None:
        raise Invalid(("new", "this message has no such stage"))
    if asked.old == PREVIOUS:
        row = previous(visit.history, way.facts.row, way.keys)
        if row is None or not visit.may(Right.READ, row.channel):
            return told.model_copy(update={"notes": ["There is no earlier message of its kind with one of its business keys."]})
        visit.note(before=format_id(row.id))
        told = told.model_copy(update={"before": row.id, "before_at": row.received_at})
        old = Stage("in", "As received", "", row.size, "", row.received_at, row.original or row.id)
    else:
        chosen = find(known, asked.old)
        if chosen is None:
            raise Invalid(("old", "this message has no such stage"))
        old = chosen
    readings = [_reading(visit.history, one) for one in (old, new)]
    if readings[0] is None or readings[1] is None:
        return told.model_copy(update={"notes": ["One of them is kept no longer: it is older than the channel's retention."]})
    found_ = compared(readings[0], readings[1])
    changes = [ChangeTold.model_construct(path=one.path, name=one.name, old=one.old, new=one.new) for one in found_.changes]
    return told.model_copy(
        update={"by": found_.by, "changes": changes, "same": found_.same, "more": found_.more, "notes": list(found_.notes)}
    )


def _reading(history: History, stage: Stage) -> Reading | None:
    content = content_of(history, stage, 0, READ)
    return None if content is None else opened(content, stage.size, stage.content_type)
