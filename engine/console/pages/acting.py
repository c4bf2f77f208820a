"""Plans: what an action would do, and agreeing to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from engine.console.answers import Done, Invalid, NotFound, Refusal
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Told
from engine.console.pages.editing import Copy, copy_of
from engine.console.pages.jobs import WORDS, JobTold, told_job
from engine.console.rights import Right
from engine.console.searching import read_query, texts_of, visible
from engine.console.visit import Visit
from engine.console.working import may_steer, query_of, visible_job, work
from engine.errors import StoreError, WardlineError
from engine.model import Verb
from engine.operations.jobs import SEND, Job
from engine.operations.plans import SLOW, Limits, Plan, given, make_plan, of_deliveries, searched
from engine.operations.worklists import grouped, of_cause
from engine.store.rows import PlannedMessage

AS_FROZEN = ("messages", "deliveries", "channels", "repeated", "overtaken", "passed_over", "seconds")
WAYS = {
    Verb.RELEASE: "Parked messages are translated anew by today's mapping, in the order in which they came; parked deliveries "
    "go out under the same identity, before everything younger in their lanes.",
    Verb.CANCEL: "What is parked or waits ends, undelivered. It stays findable, with your name.",
    Verb.RESEND: "The same bytes under the same identity, at the end of their lanes: a receiver that compares identities "
    "takes them once.",
    Verb.REPLAY: "As if they came again: translated by today's mapping for all their routes, under new identities and the same "
    "idempotency keys.",
    SEND: "The original stays as it is. The copy is a message of its own, marked as its replay, and goes the whole way: "
    "translated by today's mapping, for all its routes.",
}


class PlanAsked(Asked):
    verb: Verb
    q: str = Field("", max_length=40_000)
    id: list[MessageId] = Field(default_factory=list, max_length=1000)
    delivery: list[MessageId] = Field(default_factory=list, max_length=1000)  # ids of deliveries: of the same kind
    group: str = Field("", max_length=32)
    destination: list[str] = Field(default_factory=list, max_length=100)


class Receiver(Told):
    name: str
    deliveries: int
    delivered: int
    chosen: bool


class Overtaken(Told):
    destination: str
    order_key: str
    message: MessageId
    newer: MessageId


class Planned(Told):
    name: str  # '' where there is nothing to do
    verb: str
    title: str
    way: str
    state: str
    q: str
    group: str = ""
    ids: list[MessageId] = []
    chosen_deliveries: list[MessageId] = []
    planned_by: str
    planned_at: Instant
    messages: int
    deliveries: int
    channels: dict[str, int]
    destinations: list[Receiver]
    delivered: int
    repeated: int
    overtaken: int | None
    examples: list[Overtaken]
    passed_over: dict[str, int]
    seconds: float
    earlier: str
    sure: bool  # whether agreeing takes a word that the danger is known
    copied: Copy | None = None


@door("GET", "/plans/new", Right.ACT, Scope.SOME, "plan", page="plan.html", api="/plans/new")
def plan(visit: Visit, asked: PlanAsked) -> Planned:
    """What an action would do. It is kept for 15 minutes under its name, and nothing is done before somebody agrees."""
    named = asked.id or asked.delivery or asked.group
    if not (named or asked.q.strip()):
        raise Invalid(("q", "say which: a search like state:parked channel:charges, or a message's id"))
    try:
        made = _made(visit, asked)
    except (Refusal, StoreError):
        raise
    except WardlineError as error:  # a query that cannot be read, or that finds too much
        raise Invalid(("q", str(error))) from error
    visit.note(action=str(asked.verb), messages=len(made.messages), deliveries=len(made.deliveries))
    kept = None if made.empty else work(visit.home).jobs.keep(made, visit.who.name, "" if named else asked.q.strip())
    if kept:
        visit.note(kept.name)
    return _planned(visit, asked, made, kept)


def _made(visit: Visit, asked: PlanAsked) -> Plan:
    history, only = visit.history, set(asked.delivery) or None
    chosen = list(asked.destination)
    if not (asked.group or asked.delivery or asked.id):
        with texts_of(visit) as texts:
            search = read_query(visit, asked.q)
            if not chosen and asked.verb is not Verb.REPLAY:
                chosen = list(search.values("destination"))
            return _limited(visit, asked.verb, searched(history, search, visible(visit, search), texts), chosen, None)
    found = given(history, asked.id)
    if asked.group:
        messages, deliveries = _of_group(visit, asked.group)
        only = set(deliveries) or None
        found = of_deliveries(history, deliveries) if deliveries else given(history, messages)
    elif asked.delivery:
        found = of_deliveries(history, asked.delivery)
    return _limited(visit, asked.verb, found, chosen, only)


def _limited(
    visit: Visit, verb: Verb, found: Iterable[PlannedMessage], destinations: list[str], deliveries: set[int] | None
) -> Plan:
    """What is found in channels that the person may not see is not there."""
    seen = (one for one in found if visit.may(Right.SEE, one.row.channel))
    return make_plan(visit.history, seen, verb, Limits(lambda channel: visit.may(Right.ACT, channel), destinations, deliveries))


def _of_group(visit: Visit, key: str) -> tuple[list[int], list[int]]:
    """The messages or the deliveries of a line of the worklist."""
    history = visit.history
    for group in grouped(history.parked_messages()):
        if group.key == key:
            return of_cause(group, history.parked_message_ids(group.channel, group.kind)), []
    for group in grouped(history.parked_deliveries()):
        if group.key == key:
            return [], of_cause(group, history.parked_delivery_ids(group.channel, group.destination))
    raise NotFound("Nothing is parked for this cause any more.")


def _planned(visit: Visit, asked: PlanAsked, made: Plan, kept: Job | None) -> Planned:
    facts = kept.figures if kept else made.as_data()
    base = _facts(made.verb, facts, kept, visit)
    receivers = {one.name for one in base.destinations} | set(asked.destination)
    destinations = [
        Receiver(
            name=name,
            deliveries=made.destinations.get(name, 0),
            delivered=made.delivered.get(name, 0),
            chosen=not asked.destination or name in asked.destination,
        )
        for name in sorted(receivers)
    ]
    return base.model_copy(
        update={
            "q": asked.q, "group": asked.group, "ids": asked.id, "chosen_deliveries": asked.delivery, "destinations": destinations
        }
    )  # fmt: skip


def _facts(verb: str, data: dict[str, Any], kept: Job | None, visit: Visit) -> Planned:
    """The figures of a plan, as they were frozen."""
    which = SEND if verb == SEND else Verb(verb)
    delivered: dict[str, int] = data["delivered"]
    destinations: dict[str, int] = data["destinations"]
    risky = verb in SLOW and (bool(delivered) or bool(data["repeated"]) or data["overtaken"] != 0)
    return Planned(
        name=kept.name if kept else "",
        verb=verb,
        title=WORDS[which][0],
        way=WAYS[which],
        state=kept.state if kept else "",
        q=query_of(visit, kept) if kept else "",
        planned_by=kept.planned_by if kept else visit.who.name,
        planned_at=kept.planned_at if kept else visit.now,
        earlier=kept.earlier if kept else "",
        destinations=[
            Receiver(name=name, deliveries=number, delivered=delivered.get(name, 0), chosen=True)
            for name, number in destinations.items()
        ],
        delivered=sum(delivered.values()),
        sure=bool(risky or (verb == Verb.RELEASE and data["overtaken"] != 0)),
        examples=[
            Overtaken(**one) if visit.may(Right.READ, _channel(visit, one)) else Overtaken(**{**one, "order_key": ""})
            for one in data["examples"]
        ],
        **{name: data[name] for name in AS_FROZEN},
    )


def _channel(visit: Visit, example: dict[str, Any]) -> str:
    return visit.history.channel_of(example["message"])


class NameAsked(Asked):
    plan: str = Field(max_length=32)


@door("GET", "/plans/{plan}", Right.SEE, Scope.SOME, "view plan", page="plan.html", api="/plans/{plan}")
def kept_plan(visit: Visit, asked: NameAsked) -> Planned:
    """A plan that was made, as it was frozen."""
    job = visible_job(visit, asked.plan)
    if job.verb != SEND:
        return _facts(job.verb, job.figures, job, visit)
    copied = copy_of(visit, job)
    nothing = {"messages": 1, "deliveries": 0, "channels": {copied.channel: 1}, "destinations": {}, "delivered": {}}
    figures = nothing | {"repeated": 0, "overtaken": 0, "examples": [], "passed_over": {}, "seconds": 1.0}
    return _facts(SEND, figures, job, visit).model_copy(update={"copied": copied})


class Agreeing(Asked):
    plan: str = Field(max_length=32)
    why: str = Field("", max_length=500)
    sure: bool = False


@door("POST", "/plans/{plan}", Right.SEE, Scope.SOME, "agree to plan", api="/plans/{plan}", status=202)
def agree(visit: Visit, asked: Agreeing) -> Done[JobTold]:
    """Carry a plan out. Whoever agrees to the same plan again is told of the same job: nothing is done twice."""
    job = visible_job(visit, asked.plan)
    may_steer(visit, job)
    mine = work(visit.home)
    if not job.agreed_at and job.verb != SEND and not asked.sure and _facts(job.verb, job.figures, job, visit).sure:
        raise Invalid(("sure", "say that you know what the plan warns of: tick the box above the button"))
    done = mine.jobs.agree(job.name, visit.who.name, asked.why.strip())
    visit.note(job.name, action=job.verb, things=job.things, why=asked.why.strip())
    mine.go_on()
    return Done(f"/jobs/{job.name}", model=told_job(visit, done), status=202)
