"""Runs the tests that stand in mapping files and channel files: content in, results compared field by field.

Every field that a test names must match, others are free; lists must be of the same length. Values are compared as they are
delivered: `"64.00"` is not `"64"`. A test of a result that is a message names paths: `PID-5.1: WORTHING`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from engine.contracts import Channel, Document, Facts, Format, Product
from engine.errors import ConfigurationError, ContentError, WardlineError
from engine.mapping import Library
from engine.mapping.cases import Case
from engine.mapping.operators import text
from engine.mapping.sources import EntitySource
from engine.mapping.step import Step
from engine.strictyaml import Map, Seq, Text, load_file, mark
from engine.values import Value, is_empty

RECEIVED: Final = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z: tests have one time, so that they always give the same


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as expected."""

    path: str  # `[1].extended_amount.amount`: of the first result
    expected: str
    actual: str  # '' where there is nothing

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected or '(nothing)'}, got {self.actual or '(nothing)'}"


@dataclass(frozen=True, slots=True)
class Result:
    """One test, run."""

    subject: str  # the mapping or channel
    test: str
    passed: bool
    differences: tuple[Difference, ...] = ()
    error: str = ""  # what stopped it, or why it should have been stopped
    where: str = ""  # file:line of the test
    seconds: float = 0.0


def site_facts(directory: Path) -> Facts:
    """Facts of a site for trying things: its organization and time zone, a fixed time and id. Nothing is opened."""
    path = directory / "conf" / "engine.yaml"
    lines = Map()
    if path.is_file():
        with suppress(ConfigurationError):  # `wardline check` says what is wrong with it
            lines = load_file(path)

    def known(key: str, default: str = "") -> str:
        value = lines.get(key)
        return str(value) if isinstance(value, Text) and value else default

    return Facts(
        message_id="0000000001",
        received_at=RECEIVED,
        organization=known("organization"),
        environment=known("environment"),
        timezone=known("timezone", "UTC"),
    )


def run(
    library: Library, site_dir: Path, select: Sequence[str] = (), told: Callable[[Result], None] | None = None
) -> list[Result]:
    """Run the tests of every mapping, or of those named in `select`; `told` hears of each as it ends."""
    facts = site_facts(site_dir)
    results: list[Result] = []
    for name in library.names:
        if select and name not in select:
            continue
        for case in library.tests(name):
            result = _timed(lambda name=name, case=case: _run_case(library, facts, name, case), name, case)  # type: ignore[misc]
            results.append(result)
            if told is not None:
                told(result)
    return results


def _timed(work: Callable[[], tuple[Sequence[Difference], str]], subject: str, case: Case) -> Result:
    begin = perf_counter()
    differences, error = work()
    place = mark(case.at)
    where = f"{place.file}:{place.line}"
    return Result(subject, case.name, not differences and not error, tuple(differences), error, where, perf_counter() - begin)


def _run_case(library: Library, facts: Facts, name: str, case: Case) -> tuple[Sequence[Difference], str]:
    try:
        step = library.step(name)
        source = library.source(step.source)
        content = given_content(case, source)
        products = apply(library, step, content, facts)
    except ContentError as error:
        return _stopped(case, str(error))
    except WardlineError as error:
        return [], str(error)
    return judge(case, products)


def given_content(case: Case, source: Format | EntitySource) -> bytes:
    """The bytes a test begins with. Inline HL7 may be written on lines of its own."""
    if case.file is not None:
        return case.file.read_bytes()
    if source.name == "hl7v2":
        return "\r".join(line.strip() for line in str(case.given).splitlines() if line.strip()).encode() + b"\r"
    return str(case.given).encode()


def apply(library: Library, step: Step, content: bytes, facts: Facts) -> list[Product]:
    """Run one mapping on content as a channel would. Raises ContentError or ConfigurationError."""
    source = library.source(step.source)
    name = f"{step.source}[*]" if step.many else step.source
    mapping = library.chain([step.name], name)
    if isinstance(source, EntitySource):
        payloads = source.payloads(content)
        documents: list[Document] = (
            [source.document(payloads, many=True)] if step.many else [source.document([p], many=False) for p in payloads]
        )
        return [product for document in documents for product in mapping.apply(document, facts._replace(format="json"))]
    return mapping.apply(source.parse(content), facts._replace(format=source.name, heading=source.heading(content)))


def _stopped(case: Case, error: str) -> tuple[Sequence[Difference], str]:
    if case.parks is None:
        return [], error
    if str(case.parks) in error:
        return [], ""
    return [Difference("error", f"…{case.parks}…", error)], ""


def judge(case: Case, products: Sequence[Product]) -> tuple[Sequence[Difference], str]:
    """What differs between what a test expects and what came."""
    if case.parks is not None:
        return [], f"expected to park with '{case.parks}', and it gave {len(products)} results"
    differences = list(compare_products(case.expect or Seq(), products))
    if case.action is not None:
        differences += [
            Difference(f"[{n}] action", str(case.action), product.action)
            for n, product in enumerate(products, 1)
            if product.action != case.action
        ]
    return differences, ""


def compare_products(expect: Sequence[Any], products: Sequence[Product]) -> Iterator[Difference]:
    if len(expect) != len(products):
        yield Difference("results", str(len(expect)), str(len(products)))
    for n, (wanted, product) in enumerate(zip(expect, products, strict=False), 1):
        path = f"[{n}]" if len(products) > 1 else ""
        yield from _compare_product(wanted, product, path)


def _compare_product(wanted: Any, product: Product, path: str) -> Iterator[Difference]:
    if product.content_type == "application/json":
        delivered = json.loads(product.content, parse_float=Decimal)
        yield from compare(wanted, delivered["payload"] if "/" in product.kind else delivered, path)
    elif isinstance(wanted, Map) and product.value is not None and hasattr(product.value, "all"):
        for name, value in wanted.items():
            yield from _compare_path(product.value, str(name), value, path)
    else:
        came = product.content.decode("utf-8", "replace").strip()
        if not isinstance(wanted, Text) or came != wanted.strip():
            yield Difference(path or "text", str(wanted), came)


def _compare_path(document: Document, path: str, wanted: Any, before: str) -> Iterator[Difference]:
    place = f"{before} {path}".strip()
    if isinstance(wanted, Seq):
        came = [shown(value) for value in document.all(path)]
        if came != [str(value) for value in wanted]:
            yield Difference(place, ", ".join(map(str, wanted)), ", ".join(came))
        return
    value = document[path]
    came_text = shown(value)
    raw = getattr(value, "raw", came_text)
    if str(wanted) not in (came_text, raw):
        yield Difference(place, str(wanted), raw)


def compare(wanted: Any, came: Any, path: str) -> Iterator[Difference]:
    """Expected lines of a file against delivered JSON."""
    if isinstance(wanted, Map):
        if not isinstance(came, dict):
            yield Difference(path or "result", _brief(wanted), shown(came))
            return
        for name, value in wanted.items():
            yield from compare(value, came.get(str(name), ""), f"{path}.{name}".lstrip("."))
    elif isinstance(wanted, Seq):
        items = came if isinstance(came, list) else [] if came == "" else [came]
        if len(items) != len(wanted):
            yield Difference(path, f"{len(wanted)} items", f"{len(items)} items: {shown(items)}" if items else "")
        for number, (one, other) in enumerate(zip(wanted, items, strict=False), 1):
            yield from compare(one, other, f"{path}[{number}]")
    elif shown(came) != str(wanted):
        yield Difference(path or "result", str(wanted), shown(came))


def shown(value: Value) -> str:
    """A value as an expectation would be written."""
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return "" if is_empty(value) else text(value)


def _brief(wanted: Map) -> str:
    return ", ".join(f"{name}: …" for name in wanted)


# ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ChannelCase:
    """One test of a channel file: `expect: {route: [...]}`, or `filtered: reason`, or `rejected: part of the reason`."""

    case: Case
    routes: Map | None = None
    filtered: Text | None = None
    rejected: Text | None = None


def run_channel(channel: Channel, cases: Sequence[ChannelCase], facts: Facts) -> list[Result]:
    """Judge content as intake would and map it as translate would, without storing or sending anything."""
    return [_timed(lambda one=one: _run_channel(channel, one, facts), channel.name, one.case) for one in cases]  # type: ignore[misc]


def _run_channel(channel: Channel, one: ChannelCase, facts: Facts) -> tuple[Sequence[Difference], str]:
    content = one.case.file.read_bytes() if one.case.file else str(one.case.given).encode()
    try:
        heading = channel.format.heading(content)
        document = channel.format.parse(content)
        facts = facts._replace(channel=channel.name, heading=heading, format=channel.format.name)
        verdict, reason = _verdict(channel, document, facts)
    except ContentError as error:
        verdict, reason = "rejected", str(error)
    expected = "rejected" if one.rejected is not None else "filtered" if one.filtered is not None else "accepted"
    if verdict != expected:
        return [Difference("verdict", expected, f"{verdict} ({reason})" if reason else verdict)], ""
    if verdict != "accepted":
        wanted = str(one.rejected if verdict == "rejected" else one.filtered)
        return ([] if wanted in reason else [Difference(verdict, wanted, reason)]), ""
    return _compare_routes(channel, one, document, facts)


def _verdict(channel: Channel, document: Document, facts: Facts) -> tuple[str, str]:
    for rule in channel.accept:
        if not rule(document, facts):
            return "rejected", f"{rule.text} is not true"
    for reason, rule in channel.skip:
        if rule(document, facts):
            return "filtered", reason
    return "accepted", ""


def _compare_routes(channel: Channel, one: ChannelCase, document: Document, facts: Facts) -> tuple[Sequence[Difference], str]:
    came: dict[str, list[Product]] = {}
    try:
        for route in channel.routes:
            here = facts._replace(route=route.name)
            if route.when is not None and not route.when(document, here):
                continue
            if route.mapping is not None:
                came[route.name] = route.mapping.apply(document, here)
            else:
                came[route.name] = [
                    Product(channel.format.render(document), channel.format.content_type, channel.format.name, value=document)
                ]
    except ContentError as error:
        return _stopped(one.case, str(error))
    if one.case.parks is not None:
        return [], f"expected to park with '{one.case.parks}', and every route gave its results"
    differences: list[Difference] = []
    for name, expect in (one.routes or Map()).items():
        if not any(route.name == name for route in channel.routes):
            differences.append(Difference(str(name), "a route", "there is no such route"))
            continue
        wanted = expect if isinstance(expect, Seq) else Seq([expect] if expect != "" else [])
        for difference in compare_products(wanted, came.get(str(name), [])):
            differences.append(Difference(f"{name} {difference.path}", difference.expected, difference.actual))
    return differences, ""
