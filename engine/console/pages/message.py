"""One message: where it stands and what to do now, its whole way as a timeline, and others of the same keys."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainSerializer, WithJsonSchema

from engine.console.answers import NotFound
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Told
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.ids import format_id
from engine.query import Term
from engine.store.rows import MessageRow
from engine.views import reasons
from engine.views.advice import Advice, advice
from engine.views.siblings import siblings
from engine.views.stages import Stage, stages
from engine.views.timeline import Step, timeline
from engine.views.way import Sent, Way, way_of


def _storable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


Hostile = Annotated[Any, PlainSerializer(_storable, when_used="json"), WithJsonSchema({"type": "string"})]
"""Text of a message, as it was sent. Bytes that were no text are carried as half surrogates, and are `\\udc80` in the API."""

HostileOrNone = Annotated[
    Any, PlainSerializer(_storable, when_used="json"), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]})
]
"""The same; None for what is not there."""

Mode = Literal["", "fields", "text", "hex"]


class ReasonPart(Told):
    """A run of a reason. `kind` is '' for words, `place` or `file`."""

    text: str
    kind: str = ""
    file: str = ""
    line: int = 0


class Other(Told):
    """Another message, in a line."""

    id: MessageId
    channel: str
    state: str
    kind: str
    control_id: str
    received_at: Instant


class TimelineStep(Told):
    at: Instant
    state: str
    title: str
    text: str
    why: list[ReasonPart]
    until: Instant
    message: MessageId
    delivery: MessageId
    stage: str
    since: int  # microseconds after the step before it
    coming: bool  # it has not happened yet

    @property
    def place_stage(self) -> str:
        """The stage in which a place that the reason names is to be found."""
        return f"sent-{format_id(self.delivery)}" if self.delivery else "in"


class StageLine(Told):
    key: str
    title: str
    content_type: str
    size: int
    state: str
    at: Instant


class DeliveryTold(Told):
    id: MessageId
    route: str
    destination: str
    state: str
    reason: str
    attempts: int
    in_doubt: bool
    due: Instant
    created_at: Instant
    changed_at: Instant
    identity: str
    idempotency_key: str  # '' where the asker may not read bodies: it and the order keys are made of what these hold
    kind: str
    action: str
    content_type: str
    size: int
    order_keys: list[str]
    resend_of: MessageId


class BusinessKey(Told):
    name: str
    value: str  # '' where the asker may not read bodies: a key may be a patient's name
    query: str  # that finds all messages with it


class AdviceTold(Told):
    state: str
    headline: str
    why: list[ReasonPart]
    todo: str
    verbs: list[str]
    code_table: str = ""
    code_value: str = ""
    file: str = ""
    line: int = 0
    place: str = ""
    mapping: str = ""  # the file's, where it is a mapping
    destination: str = ""


class MessageTold(Told):
    id: MessageId
    channel: str
    state: str
    park_reason: str
    kind: str
    control_id: str
    sender: str
    version: str
    processing_id: str
    peer: str
    size: int
    digest: str  # SHA-256
    received_at: Instant
    admitted: str
    translated_at: Instant
    config: str
    original: MessageId
    replay_of: MessageId
    part_of: MessageId
    keys: list[BusinessKey]
    advice: AdviceTold
    steps: list[TimelineStep]
    stages: list[StageLine]
    deliveries: list[DeliveryTold]
    parts: list[Other]
    replays: list[Other]
    duplicates: list[Other]
    complete: bool  # false: it has more deliveries, parts or duplicates than are listed
    may_read: bool
    may_act: bool
    may_try: bool  # in the workbench, with its content
    may_edit: bool
    stage: str = ""  # that is shown first
    at: str = ""
    mode: Mode = ""


class MessageAsked(Asked):
    id: MessageId
    stage: str = Field("", max_length=60)
    at: str = Field("", max_length=200)
    mode: Mode = ""


@door("GET", "/messages/{id}", Right.SEE, Scope.MESSAGE, "view message", page="message.html", api="/messages/{id}")
def message(visit: Visit, asked: MessageAsked) -> MessageTold:
    """One message: what it is, what became of it and why, each delivery and each attempt. No content."""
    way = found(visit, asked.id)
    told = _told(visit, way)
    keys = [stage.key for stage in told.stages]
    first = asked.stage if asked.stage in keys else _likely(way, keys)
    return told.model_copy(update={"stage": first, "at": asked.at, "mode": asked.mode})


def found(visit: Visit, number: int) -> Way:
    """Raises NotFound."""
    way = way_of(visit.history, number)
    if way is None:
        raise NotFound("There is no message of this id.")
    visit.note(format_id(number), channel=way.facts.row.channel)
    return way


def _likely(way: Way, keys: list[str]) -> str:
    """The stage that people want first: the answer that parked a delivery, else what came in."""
    for one in way.sent:
        if one.row.state == "parked" and not one.earlier:
            answers = [key for key in keys if key.startswith(f"answer-{format_id(one.row.id)}-")]
            return answers[-1] if answers else "in"
    return "in"


def _told(visit: Visit, way: Way) -> MessageTold:
    row, facts = way.facts.row, way.facts
    happened = visit.now
    reads = visit.may(Right.READ, row.channel)
    channel = visit.site.channels.get(row.channel)
    late = channel is not None and channel.ack is not None
    return MessageTold(
        **{name: getattr(row, name) for name in _FACTS},
        digest=facts.digest.hex(),
        admitted=facts.admitted,
        translated_at=facts.translated_at,
        config=facts.config,
        keys=[_key(name, value, reads) for name, value in way.keys],
        advice=_advice(advice(way)),
        steps=[_step(step, happened) for step in timeline(way, late)],
        stages=[_stage(stage) for stage in stages(way)],
        deliveries=[_delivery(one, reads) for one in way.sent],
        parts=_others(visit, way.parts),
        replays=_others(visit, way.replays),
        duplicates=_others(visit, way.duplicates),
        complete=way.all_duplicates and not way.more_sent and not way.more_parts,
        may_read=reads,
        may_act=visit.may(Right.ACT, row.channel),
        may_try=visit.may(Right.TRY, row.channel) and reads,
        may_edit=visit.may(Right.EDIT, row.channel) and reads,
    )


def _key(name: str, value: str, reads: bool) -> BusinessKey:
    return (
        BusinessKey(name=name, value=value, query=str(Term(name, (value,))))
        if reads
        else BusinessKey(name=name, value="", query="")
    )


_FACTS: Final = (
    *("id", "channel", "state", "park_reason", "kind", "control_id", "sender", "version", "processing_id", "peer", "size"),
    *("received_at", "original", "replay_of", "part_of"),
)


def reason(text: str) -> list[ReasonPart]:
    return [ReasonPart(text=part.text, kind=part.kind, file=part.file, line=part.line) for part in reasons.parts(text)]


def _advice(given: Advice) -> AdviceTold:
    return AdviceTold(
        state=given.state,
        headline=given.headline,
        why=reason(given.why),
        todo=given.todo,
        verbs=list(given.verbs),
        code_table=given.code[0],
        code_value=given.code[1],
        file=given.file,
        line=given.line,
        place=given.place,
        mapping=given.file.removeprefix("mappings/").removesuffix(".yaml") if given.file.startswith("mappings/") else "",
        destination=given.destination,
    )


def _step(step: Step, now: int) -> TimelineStep:
    return TimelineStep(
        at=step.at,
        state=step.state,
        title=step.title,
        text=step.text,
        why=reason(step.why),
        until=step.until,
        message=step.message,
        delivery=step.delivery,
        stage=step.stage,
        since=step.since,
        coming=step.at > now,
    )


def _stage(stage: Stage) -> StageLine:
    return StageLine(
        key=stage.key,
        title=stage.title,
        content_type=stage.content_type,
        size=stage.size,
        state=stage.state,
        at=stage.at,
    )


def _delivery(one: Sent, reads: bool) -> DeliveryTold:
    values = {name: getattr(one.row, name) for name in DeliveryTold.model_fields if name != "order_keys"}
    if not reads:
        values["idempotency_key"] = ""
    return DeliveryTold(**values, order_keys=[key for key in one.order_keys if key and reads])


def _others(visit: Visit, rows: tuple[MessageRow, ...]) -> list[Other]:
    """Those that this person may see."""
    return [
        Other(
            id=row.id,
            channel=row.channel,
            state=row.state,
            kind=row.kind,
            control_id=row.control_id,
            received_at=row.received_at,
        )
        for row in rows
        if visit.may(Right.SEE, row.channel)
    ]


# ── others of the same keys ────────────────────────────────────────────────────────────────────────────────────────


class SiblingsAsked(Asked):
    id: MessageId


class SameKey(BusinessKey):
    more: bool  # more messages have it than are listed


class Sibling(Other):
    shares: list[str]  # the names of the keys that both have
    itself: bool = False


class SiblingsTold(Told):
    id: MessageId
    keys: list[SameKey]
    rows: list[Sibling]  # newest first, with the message itself among them


@door(
    *("GET", "/messages/{id}/siblings", Right.SEE, Scope.MESSAGE, "view siblings"),
    page="message_siblings.html",
    fragment="_siblings.html",
    api="/messages/{id}/siblings",
)
def message_siblings(visit: Visit, asked: SiblingsAsked) -> SiblingsTold:
    """Other messages with the same business keys, the newest first; of channels that the asker may see."""
    facts = visit.history.message(asked.id, content=False)
    if facts is None:
        raise NotFound("There is no message of this id.")
    keys: list[SameKey] = []
    rows: dict[int, MessageRow] = {}
    shares: dict[int, list[str]] = {}
    for one in siblings(visit.history, asked.id, visit.history.keys(asked.id)):
        key = _key(one.name, one.value, visit.may(Right.READ, facts.row.channel))
        keys.append(SameKey(name=key.name, value=key.value, query=key.query, more=one.more))
        for row in one.rows:
            rows[row.id] = row
            shares.setdefault(row.id, []).append(one.name)
    told = [
        Sibling(**other.__dict__, shares=list(dict.fromkeys(shares[other.id]))) for other in _others(visit, tuple(rows.values()))
    ]
    if told:
        (own,) = _others(visit, (facts.row,))
        told.append(Sibling(**own.__dict__, shares=[], itself=True))
    return SiblingsTold(id=asked.id, keys=keys, rows=sorted(told, key=lambda row: row.id, reverse=True))
