"""The one function of a mapping against the closures it stands for: the same value, or else the closures' own words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import registry
from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2
from engine.generated import function
from engine.mapping import Library, inline
from engine.mapping.codes import CodeTable
from engine.mapping.compile import compile_expression
from engine.mapping.faults import Refused
from engine.mapping.reads import Surroundings
from engine.mapping.scope import Scope
from engine.values import Composite
from tests.unit.mapping.material import ADT, DFT, FACTS, ORU, MakeSite, hl7
from tests.unit.mapping.material import TABLES as TABLES_AS_FILES

FORMAT = Hl7v2(Hl7v2Options())
TABLES = {
    "sex": CodeTable("sex", "mappings/codes/sex.csv", ("code", "sex"), [("F", "female"), ("M", "male")]),
    "any": CodeTable("any", "mappings/codes/any.csv", ("code", "text"), [("F", "f"), ("*", "other")]),
    "two": CodeTable("two", "mappings/codes/two.csv", ("code", "a", "b"), [("F", "1", ""), ("CG", "2", "x")]),
}
ROOT = Path(__file__).parents[3]

CORPUS = [
    "{a}", "{a} | required", "first({a}, {b})", "first({a}, {b} | decimal, {c}) | default('none')", "joined('|', {a}, {b}, {c})",
    "joined(', ', {a}, {d})", "{a} | decimal", "({a} | decimal) * ({b} | decimal)", "-({a} | decimal)", "{a} | date",
    "{a} | datetime", "{a} | coded", "{a} | name", "{a} | identifier", "{a} | phone", "{a} | address", "{a} | location",
    "{a} | code('sex')", "{a} | code('any')", "{a} | code('two')", "code('two', code={a})", "{a} == 'F'", "{a} != {b}",
    "{a} in ['F', 'CG']", "{a} not in ['F', 'CG']", "{a} in {d}", "'x' if {a} == 'F' else {b}", "{a} if {b}", "{a} and {b}",
    "{a} or {b}", "not {a}", "{a} ~ '-' ~ {b}", "{d} | join(',')", "{d} | count", "{d} | sum", "{d} | coded", "{d}", "[{a}, {b}]",
    "{a} is empty", "{a} is null", "{a} is listed('sex')", "{a} | default({b})", "{a} | decimal | default(1)", "{d} | last",
    "{a} | date | default(omit)", "{a} | decimal < 3", "{a} | substring(1, 2) | upper", "{a} | default(null)", "first({d}, {a})",
    "first({a} | decimal, {b}) | text", "{a} | trim | default('x') | lower", "+({a} | decimal)", "({a} | decimal) == 2", "today",
    "message.id ~ {a}", "1 < ({a} | decimal) < 9",
]  # fmt: skip
ONE = ["PID-8", "PID-7", "PID-5", "PID-5.1", "PID-3[.5='MR'].1", "PID-3", "FT1-6", "FT1-10", "FT1-11", "FT1-11.1.2", "FT1-7",
       "OBX-5", "MSH-9.2", "MSH-1", "ZZZ-1", "FT1-25", "PID-13", "OBX[2]-5", "PV1"]  # fmt: skip
MANY = ["OBX[*]-5", "FT1-26[*]", "PID-3[*].1", "FT1[*]-10", "PID-13[*]", "ZZZ[*]-1"]
ODD = 'MSH|^~\\&|A|B|||2026||DFT^P03|M|P|2.5\rPID|1||""~^^^^MR||^\\T\\|x|20269999|""|||||^^^^^1\rFT1|1||||||^^^^|||0|&USD|\r'
DOCUMENTS = [FORMAT.parse(hl7(text)) for text in (ADT, DFT, ORU)] + [FORMAT.parse(ODD.encode())]
TURNS = [*DOCUMENTS, *DOCUMENTS[1].turns("FT1"), *DOCUMENTS[2].turns("OBR"), *DOCUMENTS[3].turns("FT1")]


class FellBack(Exception):
    pass


def told(run: Any, scope: Scope) -> tuple[Any, ...]:
    """What comes of it, down to the types; or what is refused, word for word."""
    try:
        value = run(scope)
    except (Refused, ContentError) as fault:
        return type(fault), str(fault), getattr(fault, "sentence", "")
    return exactly(value)


def exactly(value: Any) -> tuple[Any, ...]:
    if isinstance(value, list):
        return list, [exactly(item) for item in value]
    if isinstance(value, dict):
        return dict, [(name, exactly(item)) for name, item in value.items()]
    return type(value), str(value), value.raw if isinstance(value, Composite) else ""


def fall_back(scope: Scope) -> Any:
    raise FellBack


def agree(source: str) -> int:
    """How many of the documents the quick way could do by itself."""
    run = compile_expression(source, Surroundings(FORMAT, TABLES), condition=True).run
    alone = inline._compiled(lambda writer: writer.value(run), fall_back)
    whole = inline.generated(run)
    done = 0
    for document in TURNS:
        scope = Scope(document, FACTS, [])
        expected = told(run, scope)
        assert told(whole, scope) == expected, source
        try:
            quickly = alone(scope)
        except FellBack:
            continue
        done += 1
        assert exactly(quickly) == expected, source
    return done


@pytest.mark.parametrize("source", CORPUS)
def test_both_ways_say_the_same(source: str) -> None:
    most = 0
    for n, path in enumerate(ONE):
        others = ONE[(n + 3) % len(ONE)], ONE[(n + 7) % len(ONE)], MANY[n % len(MANY)]
        most = max(most, agree(source.format(a=path, b=others[0], c=others[1], d=others[2])))
    assert most > 0, "the quick way never came to an end by itself"


@given(st.sampled_from(CORPUS), st.sampled_from(CORPUS), st.tuples(*[st.sampled_from(ONE)] * 3), st.sampled_from(MANY))
def test_both_ways_say_the_same_within_one_another(outer: str, inner: str, paths: tuple[str, str, str], many: str) -> None:
    names = dict(zip("abc", paths, strict=True)) | {"d": many}
    try:
        source = outer.format(**names | {"a": f"({inner.format(**names)})"})
        compile_expression(source, Surroundings(FORMAT, TABLES), condition=True)
    except Exception:
        return  # not everything may stand within everything
    agree(source)


def test_what_is_nested_too_deeply_for_one_function_still_runs() -> None:
    for source in ("(" * 19 + "PID-8" + ")" * 19, " ~ ".join(["PID-8"] * 150), " and ".join(["PID-8"] * 150)):
        run = compile_expression(source, Surroundings(FORMAT, TABLES), condition=True).run
        scope = Scope(DOCUMENTS[0], FACTS, [])
        assert inline.generated(run)(scope) == run(scope)


def results(samples: list[Path]) -> Iterator[tuple[str, str, Any]]:
    library = Library.load(ROOT, registry.formats(), registry.entities())
    for name in library.names:
        if library.step(name).source != "hl7v2":
            continue
        chains = [
            [name],
            *([name, other] for other in library.names if library.step(other).source == library.step(name).output.kind),
        ]
        for chain in chains:
            mapping = library.chain(chain, "hl7v2")
            for sample in samples:
                try:
                    outcome: Any = [product[:5] for product in mapping.apply(FORMAT.parse(sample.read_bytes()), FACTS)]
                except ContentError as error:
                    outcome = type(error), str(error), error.place
                yield mapping.name, sample.name, outcome


def test_every_mapping_over_every_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = sorted((ROOT / "samples/hl7v2").glob("*.hl7"))
    quickly = list(results(samples))
    monkeypatch.setattr(inline, "_compiled", lambda body, slow: slow)
    assert quickly == list(results(samples))
    assert sum(isinstance(outcome, list) and bool(outcome) for _, _, outcome in quickly) > len(samples)


EVERY_WAY = ["", " | coded", " | name", " | date", " | decimal", " | identifier", " | code('sex')", " | default('none')"]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_objects_of_fields_say_the_same(way: str, site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an object a field may be read as less than the whole of it, where that is enough."""
    outcomes: list[Any] = []
    for quickly in (True, False):
        if not quickly:
            monkeypatch.setattr(inline, "_compiled", lambda body, slow: slow)
        for path in [*ONE, *MANY]:
            lines = f"mapping: m\nfrom: hl7v2\nto: json\nset:\n  a: ={path}{way}\n  b: =PID-5\n  c:\n    d: =PID-3\n"
            library = site({"m.yaml": lines, "sex.csv": TABLES_AS_FILES["sex.csv"]})
            mapping = library.chain(["m"], "hl7v2")
            for document in DOCUMENTS:
                try:
                    outcomes.append([exactly(product.value) for product in mapping.apply(document, FACTS)])
                except ContentError as error:
                    outcomes.append((type(error), str(error), error.place))
    half = len(outcomes) // 2
    assert outcomes[:half] == outcomes[half:]
    assert sum(isinstance(outcome, list) for outcome in outcomes) > half // 4


def test_no_text_of_a_mapping_is_in_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(text: str, *rest: Any) -> Any:
        seen.append(text)
        return function(text, *rest)

    monkeypatch.setattr(inline, "function", spy)
    run = compile_expression(
        "PID-8 ~ 'hostile' ~ (PID-7 | replace('hostile', '{0}')) in ['hostile']", Surroundings(FORMAT, {}), condition=True
    ).run
    inline.generated(run)(Scope(DOCUMENTS[0], FACTS, []))
    (text,) = seen
    assert "hostile" not in text
    assert "PID" not in text
