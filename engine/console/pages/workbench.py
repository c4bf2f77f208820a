"""The workbench: a message, a mapping, and what comes of it. Nothing is sent, and nothing is saved: the files are the truth."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from engine.console.answers import Denied, Download, Invalid, NotFound
from engine.console.benching import mapping_files, samples, texts, trials
from engine.console.doors import Scope, door
from engine.console.models import Asked, MessageId, Told
from engine.console.pages.site import may_see, outlines
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.contracts import Facts
from engine.ids import format_id
from engine.model import Heading
from engine.testing.mappings import site_facts
from engine.testing.trial import LARGEST, TooLarge, as_sent, run_tests, try_out

BODY: Final = 8 * LARGEST  # a form writes some bytes as three
MOST_STEPS: Final = 10  # of a chain


class BenchAsked(Asked):
    chain: str = Field("", max_length=1000)  # names, with commas
    file: str = Field("", max_length=200)  # which of the files is edited
    sample: str = Field("", max_length=300)
    message: MessageId = 0


class Chosen(Told):
    chain: str
    where: str  # `charges → billing`; '' for a mapping alone


class Bench(Told):
    chains: list[Chosen]
    chain: str
    files: list[str]
    file: str
    text: str
    samples: list[str]
    sample: str
    message: MessageId
    content: str
    encoding: str


class TryAsked(Asked):
    chain: str = Field(max_length=1000)
    content: str = Field("", max_length=LARGEST)
    encoding: str = Field("utf-8", pattern="^(utf-8|latin-1)$")
    message: MessageId = 0
    file: str = Field("", max_length=200)
    text: str = Field("", max_length=LARGEST)


class TestAsked(Asked):
    chain: str = Field(max_length=1000)
    file: str = Field("", max_length=200)
    text: str = Field("", max_length=LARGEST)
    content: str = Field("", max_length=LARGEST)
    encoding: str = Field("utf-8", max_length=20)
    message: MessageId = 0


class Read(Told):
    path: str
    place: str
    value: str
    let: str


class Looked(Told):
    file: str
    key: str
    line: int
    value: str
    let: str


class Line(Told):
    kind: str
    target: str
    file: str
    line: int
    column: int
    expression: str
    n: int
    value: str
    empty: bool
    items: int
    reads: list[Read]
    looked: list[Looked]
    names: list[tuple[str, str]]
    error: str


class Row(Told):
    path: str
    value: str | None
    entry: Line | None
    note: str


class Result(Told):
    n: int
    rows: list[Row]
    lets: list[Line]
    checks: list[Line]
    reads: list[Line]
    cut: bool


class Step(Told):
    mapping: str
    file: str
    turns: list[tuple[str, int]]
    skipped: list[Line]
    unfinished: list[Line]
    results: list[Result]


class Delivered(Told):
    kind: str
    action: str
    content_type: str
    content: str
    idempotency_key: str


class Fault(Told):
    text: str
    reason: str
    place: str
    file: str
    line: int
    column: int


class Finding(Told):
    file: str
    line: int
    column: int
    text: str
    severity: str


class Tried(Told):
    steps: list[Step]
    delivered: list[Delivered]
    fault: Fault | None
    findings: list[Finding]  # of the edited file, and errors of others that it needs
    file: str
    cut: bool


class Difference(Told):
    path: str
    expected: str
    actual: str


class Test(Told):
    subject: str
    test: str
    passed: bool
    differences: list[Difference] = []
    error: str = ""
    where: str = ""


class Tests(Told):
    tests: list[Test]
    passed: int


@door("GET", "/workbench", Right.TRY, Scope.SOME, "open workbench", page="workbench.html", api="/workbench")
def workbench(visit: Visit, asked: BenchAsked) -> Bench:
    """What there is to try: chains of mappings, their texts, samples; or a stored message that one may read."""
    site = visit.home.directory
    known = _mappings(visit)
    chains = _chains(visit, known)
    chain = asked.chain or (chains[0].chain if chains else "")
    names = _names(chain, known) if chain else []
    files = _texts(visit)
    file = asked.file if asked.file in files else f"mappings/{names[0]}.yaml" if names else ""
    text = (site / file).read_text("utf-8", "replace") if file in files else ""
    content, encoding = _content(visit, asked)
    return Bench(
        chains=chains,
        chain=", ".join(names),
        files=files,
        file=file,
        text=text,
        samples=samples(site),
        sample=asked.sample,
        message=asked.message,
        content=content,
        encoding=encoding,
    )


@door("POST", "/workbench/try", Right.TRY, Scope.SOME, "try a mapping", page="_tried.html", api="/workbench/try", body=BODY)
def try_mapping(visit: Visit, asked: TryAsked) -> Tried:
    """What a chain of mappings makes of a content, field by field; one file's text may be another than on disk."""
    site = visit.home.directory
    known = _mappings(visit)
    names = _names(asked.chain, known)
    visit.note(", ".join(names))
    facts = _facts(visit, asked.message)
    content = as_sent(asked.content, known[names[0]], asked.encoding)
    with trials(visit.home).of(_person(visit)) as begun:
        try:
            told = try_out(site, names, content, facts, _edited(visit, asked.file, asked.text), begun)
        except TooLarge as error:
            raise Invalid(("content", str(error))) from error
    problems: list[dict[str, Any]] = told.pop("problems")
    used = {f"mappings/{name}.yaml" for name in names}
    findings = [one for one in problems if one["file"] == asked.file or (one["severity"] == "error" and one["file"] in used)]
    return Tried(**told, findings=findings, file=asked.file)


@door("POST", "/workbench/test", Right.TRY, Scope.SOME, "run tests", page="_tests.html", api="/workbench/test", body=BODY)
def run_mapping_tests(visit: Visit, asked: TestAsked) -> Tests:
    """The tests that stand beside the mappings of a chain; one file's text may be another than on disk."""
    names = _names(asked.chain, _mappings(visit))
    visit.note(", ".join(names))
    with trials(visit.home).of(_person(visit)) as begun:
        try:
            told = run_tests(visit.home.directory, names, _edited(visit, asked.file, asked.text), begun)
        except TooLarge as error:
            raise Invalid(("text", str(error))) from error
    tests = [Test(**{name: value for name, value in one.items() if name != "seconds"}) for one in told]
    return Tests(tests=tests, passed=sum(one.passed for one in tests))


@door("POST", "/workbench/text", Right.TRY, Scope.SOME, "download a mapping's text", body=BODY)
def download_text(visit: Visit, asked: TestAsked) -> Download:
    """The edited text as a file, to be put into the site by whoever may."""
    if asked.file not in _texts(visit):
        raise NotFound("There is no such file of mappings.")
    visit.note(asked.file)
    return Download(asked.file.rpartition("/")[2], "text/plain; charset=utf-8", [_lines(asked.text).encode()])


# ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mappings(visit: Visit) -> dict[str, str]:
    """Those that the person may see, as among the site's files."""
    known = mapping_files(visit.home.directory)
    return {name: kind for name, kind in known.items() if may_see(visit, f"mappings/{name}.yaml")}


def _texts(visit: Visit) -> list[str]:
    return [name for name in texts(visit.home.directory) if may_see(visit, name)]


def _person(visit: Visit) -> str:
    return visit.who.id or visit.who.name


def _chains(visit: Visit, known: dict[str, str]) -> list[Chosen]:
    """Those of the routes that the person may see, then every mapping alone."""
    found: dict[str, list[str]] = {}
    for one in outlines(visit, Right.TRY):
        for route, mappings, _ in one.routes:
            if mappings and all(name in known for name in mappings):
                found.setdefault(", ".join(mappings), []).append(f"{one.name} → {route}")
    chains = [Chosen(chain=chain, where=", ".join(routes)) for chain, routes in sorted(found.items())]
    return [*chains, *(Chosen(chain=name, where="") for name in known if name not in found)]


def _names(chain: str, known: dict[str, str]) -> list[str]:
    names = [name.strip() for name in chain.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise Invalid(("chain", f"there is no mapping '{name[:80]}' in mappings/"))
    if not 0 < len(names) <= MOST_STEPS:
        raise Invalid(("chain", f"choose a mapping, or up to {MOST_STEPS} with commas between them"))
    return names


def _edited(visit: Visit, file: str, text: str) -> dict[str, str]:
    if not file:
        return {}
    if file not in _texts(visit):
        raise Invalid(("file", "there is no such file of mappings"))
    return {file: _lines(text)}


def _lines(text: str) -> str:
    """As they were: forms send line ends of their own."""
    return text.replace("\r\n", "\n")


def _content(visit: Visit, asked: BenchAsked) -> tuple[str, str]:
    if asked.message:
        return _stored(visit, asked.message)
    if asked.sample:
        if asked.sample not in samples(visit.home.directory):
            raise NotFound("There is no such file in samples/.")
        visit.note(f"samples/{asked.sample}")
        return _text((visit.home.directory / "samples" / asked.sample).read_bytes())
    return "", "utf-8"


def _stored(visit: Visit, number: int) -> tuple[str, str]:
    channel = visit.history.channel_of(number)
    if not channel:
        raise NotFound("There is no message of this id.")
    visit.note(format_id(number))
    visit.require(Right.READ, channel)
    facts = visit.history.message(number)
    if facts is None or len(facts.content) > LARGEST:
        raise Denied("This message is larger than what is tried here; wardline map takes it.")
    return _text(facts.content)


def _text(content: bytes) -> tuple[str, str]:
    """As it is shown, and how it becomes bytes again."""
    try:
        text, encoding = content.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = content.decode("latin-1"), "latin-1"
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _facts(visit: Visit, number: int) -> Facts:
    """Those of the stored message, as when it was translated; without one those of tests."""
    facts = site_facts(visit.home.directory)
    if not number:
        return facts
    channel = visit.history.channel_of(number)
    if not channel:
        raise NotFound("There is no message of this id.")
    visit.require(Right.READ, channel)
    stored = visit.history.message(number)
    if stored is None:
        raise NotFound("There is no message of this id.")
    row = stored.row
    heading = Heading(row.kind, row.control_id, row.sender, row.version, row.processing_id)
    return facts._replace(message_id=format_id(number), received_at=row.received_at, channel=channel, heading=heading)
