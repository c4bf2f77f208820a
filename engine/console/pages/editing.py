"""A copy of a message, edited by a person: shown as lines, kept as a plan with its differences, sent as a job."""

from __future__ import annotations

from pydantic import Field

from engine.console.answers import Done, Invalid, NotFound, Shown
from engine.console.doors import Scope, door
from engine.console.models import Asked, MessageId, Problems, Told
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.console.working import work
from engine.ids import format_id
from engine.operations.edited import Difference, NotEditable, differences, edited, editing
from engine.operations.jobs import Job

LARGEST = 4 << 20  # bytes of a form with a message in it


class EditAsked(Asked):
    id: MessageId


class Edit(Told):
    id: MessageId
    channel: str
    kind: str
    control_id: str
    codec: str
    text: str
    why_not: str  # why it cannot be edited here; '' where it can
    lines: int
    problems: Problems = []


@door("GET", "/messages/{id}/edit", Right.EDIT, Scope.MESSAGE, "edit a copy", page="edit.html", api="/messages/{id}/copies/new")
def edit_page(visit: Visit, asked: EditAsked) -> Edit:
    """A message's content as lines of text, to edit a copy of it."""
    visit.note(format_id(asked.id))
    return _edit(visit, asked.id)


def _edit(visit: Visit, number: int) -> Edit:
    found = visit.history.planned([number])
    if not found:
        raise NotFound("There is no such message (any more).")
    row = found[0].row
    visit.require(Right.READ, row.channel)
    text = codec = why_not = ""
    lines = 0
    try:
        shown = editing(_content(visit, number))
        text, codec, lines = shown.text, shown.codec, len(shown.lines)
    except NotEditable as error:
        why_not = str(error)
    return Edit(
        id=number, channel=row.channel, kind=row.kind, control_id=row.control_id, codec=codec, text=text, why_not=why_not,
        lines=lines,
    )  # fmt: skip


def _content(visit: Visit, number: int) -> bytes:
    """What came in; of a duplicate, its original's. Raises NotEditable where it is not kept any more."""
    facts = visit.history.message(number)
    if facts is not None and not facts.content and facts.row.original:
        facts = visit.history.message(facts.row.original)
    if facts is None or not facts.content:
        raise NotEditable("its content is not kept any more")
    return facts.content


class Edited(Asked):
    id: MessageId
    text: str = Field(max_length=LARGEST)


class PlanMade(Told):
    plan: str


@door(
    "POST", "/messages/{id}/edit", Right.EDIT, Scope.MESSAGE, "plan a copy", api="/messages/{id}/copies", body=LARGEST, status=201
)
def edit_copy(visit: Visit, asked: Edited) -> Done[PlanMade] | Shown:
    """Keep an edited copy as a plan; nothing is sent before somebody agrees to it."""
    visit.note(format_id(asked.id))
    about = _edit(visit, asked.id)
    if about.why_not:
        raise Invalid(("text", f"this message cannot be edited here: {about.why_not}"))
    original = _content(visit, asked.id)
    try:
        content = edited(editing(original), asked.text)
        if content == original:
            raise NotEditable("nothing was changed. To have the message taken again as it is, replay it")
    except NotEditable as error:
        again = about.model_copy(update={"text": asked.text, "problems": [("text", str(error))]})
        return Shown(again, "edit.html", 422)  # with what was typed
    job = work(visit.home).jobs.keep_copy(asked.id, about.channel, content, visit.who.name)
    visit.note(plan=job.name)
    return Done(f"/plans/{job.name}", model=PlanMade(plan=job.name), status=201)


class Line(Told):
    sign: str
    line: str


class Copy(Told):
    """An edited copy that waits to be sent."""

    original: MessageId
    channel: str
    size: int
    lines: list[Line]


def copy_of(visit: Visit, job: Job) -> Copy:
    """What an edited copy changes, for those who may read bodies."""
    original, channel = job.figures["original"], job.figures["channel"]
    visit.require(Right.READ, channel)
    now = editing(work(visit.home).jobs.content(job))
    lines = _near(differences(editing(_content(visit, original)), now))
    told = [Line(sign=one.sign, line=one.line) for one in lines]
    return Copy(original=original, channel=channel, size=job.figures["size"], lines=told)


def _near(lines: list[Difference], around: int = 3) -> list[Difference]:
    """What changed, with a few lines about it; a line `…` stands for what is left out."""
    changed = [n for n, one in enumerate(lines) if one.sign != " "]
    shown = sorted({n for at in changed for n in range(max(0, at - around), min(len(lines), at + around + 1))})
    found: list[Difference] = []
    for before, n in zip([-1, *shown], shown, strict=False):
        if n != before + 1:
            found.append(Difference("…", ""))
        found.append(lines[n])
    return found
