"""Nothing runs away: time, memory and output of expressions, patterns and templates have bounds, and each says which it is.

B125 and B126 of the list of bad input. What a bound stops in a template parks as poison: nothing of the message will help.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import load_site
from engine.contracts import Facts
from engine.errors import ConfigurationError, ContentError, MappingError
from engine.mapping import library as library_module
from engine.mapping.faults import Refused
from engine.mapping.regex import matching
from engine.model import NO_HEADING, Message, MessageState, ParkReason
from engine.pipeline.translate import translate
from tests.unit.config.sites import make as make_site
from tests.unit.mapping.material import ADT, FACTS, TABLES, Bench, MakeSite, hl7


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Every test of this module ends soon and needs little."""
    peak, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - began < 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 256 << 10  # KiB


# ── templates ──────────────────────────────────────────────────────────────────────────────────────────────────────

MAPPING = "mapping: m\nfrom: hl7v2\nto: text\nrender: {template: t.j2}\n"
STEPS = "the template takes more than 200,000 steps"
CHARACTERS = "the template makes more than 16,777,216 characters"
LIST = "{% set l = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] %}"


def rendered(site: MakeSite, template: str, content: str = ADT) -> str:
    library = site({"m.yaml": MAPPING, "mappings/t.j2": template, **TABLES})
    assert [str(problem) for problem in library.problems] == []
    (product,) = library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(hl7(content)), FACTS)
    return product.content.decode()


RUN_AWAY = {
    "nested loops that print": (LIST + "{% for a in l %}" * 6 + "x{{ a }}" + "{% endfor %}" * 6, STEPS),
    "nested loops that print nothing": (LIST + "{% for a in l %}" * 12 + "{% endfor %}" * 12, STEPS),
    "nested loops over one character": (LIST + "{% for a in 'x' %}" + "{% for b in l %}" * 9 + "{% endfor %}" * 10, STEPS),
    "loops with a condition": (LIST + "{% for a in l if a %}" * 9 + "{% endfor %}" * 9, STEPS),
    "joining doubles": ("{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 40 + "{{ a | count }}", CHARACTERS),
    "a block that doubles": ("{% set a %}xxxxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40, CHARACTERS),
    "a macro that doubles": (
        "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}{% set a = 'xxxxxxxxxx' %}" + "{% set a = d(a) %}" * 40, CHARACTERS),
    "a filter that doubles": (
        "{% set a = 'x' | pad(1000) %}" + "{% set a = a | replace('0', '000000000') %}" * 3 + LIST * 4
        + "{% for b in l %}{% for c in l %}{% set d = a | upper %}{% endfor %}{% endfor %}", CHARACTERS),
    "one text looked through again and again": (
        "{% set a = 'x' | pad(1000) | replace('0', '00000000') %}" + LIST
        + "{% for b in l %}" * 5 + "{% if 'y' in a %}{% endif %}" + "{% endfor %}" * 5, CHARACTERS),
    "much output": (LIST + "{% for a in l %}" * 4 + "x" * 2000 + "{% endfor %}" * 4, CHARACTERS),
    "a macro without end": ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "call one another without end"),
    "two macros without end": (
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "call one another without end"),
    "macros that call twice": (
        "{% macro a(n) %}{% if n > 0 %}{% set x = a(n - 1) ~ a(n - 1) %}{% endif %}{% endmacro %}{{ a(60) }}", STEPS),
    "arguments that call twice": (
        "{% macro a(n, x) %}{% if n > 0 %}{{ a(n - 1, a(n - 1, '')) }}{% endif %}{% endmacro %}{{ a(60, '') }}", STEPS),
}  # fmt: skip


@pytest.mark.parametrize(("template", "limit"), RUN_AWAY.values(), ids=RUN_AWAY.keys())
def test_a_template_that_runs_away_is_stopped_and_parks_as_poison(site: MakeSite, template: str, limit: str) -> None:
    with pytest.raises(MappingError, match=limit) as caught:
        rendered(site, template)
    assert caught.value.reason == "poison"
    assert "t.j2" in str(caught.value)
    assert str(caught.value).endswith("(mappings/m.yaml:3:5)")


def test_the_meter_begins_anew_with_each_message(site: MakeSite) -> None:
    library = site({"m.yaml": MAPPING, "mappings/t.j2": LIST + "{% for a in l %}" * 4 + "{{ a }}" + "{% endfor %}" * 4})
    chain, document = library.chain(["m"], "hl7v2"), library.formats["hl7v2"].parse(hl7(ADT))
    assert {len(chain.apply(document, FACTS)[0].content) for _ in range(20)} == {11_000}


@pytest.mark.parametrize(("template", "said"), [
    ("{% for a in [1] %}" * 30 + "{% endfor %}" * 30, "nested too deeply"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
    ("{{ " + "9" * 5000 + " }}", "too many digits"),
    ("{{ " * 60_000, "nested too deeply"),
    ("{# " * 60_000, "Missing end of comment"),
    ("{% raw %}" * 20_000, "Missing end of raw"),
    ("{% if " * 40_000, "line 1"),
    ("{{ '" * 40_000, "line 1"),
    ("{% include 't.j2' %}", "line 1: a template stands alone: it cannot include another."),
    ("x\n{% extends 't.j2' %}", "line 2: a template stands alone: it cannot extend another."),
    ("{% import 't.j2' as t %}", "line 1: a template stands alone: it cannot import another."),
    ("{% block a %}{{ self.a() }}{% endblock %}", "line 1: a template stands alone, so block has no meaning"),
    ("{% autoescape false %}{% endautoescape %}", "what is escaped follows from the mapping's to:"),
    ("{% if PID-8 == 'F' %}{{ PID-5.1 | uppr }}{% endif %}", "line 1: there is no filter 'uppr' in templates. Did you mean 'upper'?"),
    ("{% if PID-8 is evn %}{% endif %}", "line 1: there is no test 'evn' in templates. Did you mean 'even'?"),
    ("{{ m['PID-'] }}", "PID-"),
    ("{{ m[PID-5.1] }}", "m takes a path in quotes"),
    ("{{ a._b }}", "names that begin with _ cannot be read"),
    ("x" * 300_000, "larger than 256 KiB"),
])  # fmt: skip
def test_a_template_that_could_only_fail_is_refused_when_it_is_read(site: MakeSite, template: str, said: str) -> None:
    library = site({"m.yaml": MAPPING, "mappings/t.j2": template})
    (problem,) = library.problems
    assert (problem.file, problem.severity) == ("mappings/t.j2", "error")
    assert said in problem.text


@pytest.mark.parametrize(
    "template", ["{{ range(10 ** 9) }}", "{{ 'a' * 10 ** 10 }}", "{{ '%1000000000d' % 1 }}", "{{ 10 ** 10 ** 10 }}"]
)
def test_b125_a_bomb_in_one_expression_parks(site: MakeSite, template: str) -> None:
    with pytest.raises(MappingError, match=r"t.j2 line 1"):
        rendered(site, template)


def test_what_a_template_refuses_has_its_line_and_its_place(site: MakeSite) -> None:
    with pytest.raises(MappingError) as caught:
        rendered(site, "{{ PID-3.1 }}\n{{ PID-5.1 | date }}")
    assert str(caught.value) == (
        "m text: PID-5.1 'Worthing' is not a date (expected YYYYMMDD or YYYY-MM-DD), in t.j2 line 2 (mappings/m.yaml:3:5)"
    )
    assert (caught.value.place, caught.value.reason) == ("PID-5.1", "mapping")


def test_numbers_and_comparisons_in_templates_are_those_of_expressions(site: MakeSite) -> None:
    assert rendered(site, "{{ 0.1 + 0.2 }} {{ 1.10 * 3 }} {{ 2.50 }}") == "0.3 3.3 2.5"
    with pytest.raises(MappingError, match="compares text with a number"):
        rendered(site, "{% if PID-1 == 1 %}{% endif %}")
    assert rendered(site, "{% if 1 < 2 < 3 and PID-8 in ['F', 'M'] and 'x' not in PID-5.1 %}yes{% endif %}") == "yes"
    assert rendered(site, "{% raw %}{{ PID-5.1 }}{% endraw %}{# {{ PID-5.1 }} #}{{ PID-5.1 }}") == "{{ PID-5.1 }}Worthing"


def test_in_the_pipeline_it_parks_and_the_next_message_goes_on(tmp_path: Path) -> None:
    site = make_site(tmp_path, {
        "mappings/adt-to-patient.yaml": MAPPING.replace("mapping: m", "mapping: adt-to-patient"),
        "mappings/t.j2": LIST + "{% if PID-8 == 'F' %}" + "{% for a in l %}" * 9 + "{% endfor %}" * 9 + "{% endif %}done",
    })  # fmt: skip
    loaded = load_site(site, {})
    (channel,) = loaded.channels
    stopped, done = (
        translate(channel, Message(number, "adt", hl7(content), NO_HEADING, "peer", 1), Facts(), "v1")
        for number, content in enumerate((ADT, ADT.replace("|F|", "|M|")), 1)
    )
    assert (stopped.state, stopped.park_reason, stopped.outgoings) == (MessageState.PARKED, ParkReason.POISON, ())
    assert STEPS in stopped.reason
    assert "t.j2 line 1" in stopped.reason
    assert [outgoing.content for outgoing in done.outgoings] == [b"done"]


# ── expressions ────────────────────────────────────────────────────────────────────────────────────────────────────

HUGE = '{"a": 1e999999, "b": [1e99999999, 1], "t": 1e-99999999, "c": ' + "9" * 4000 + "}"


@pytest.mark.parametrize("number", ["a", "c", "b[1]", "t"])
@pytest.mark.parametrize(
    "form", ["{} ~ ''", "{} | text", "{} | int", "{} | upper", "{} | pad(3)", "joined(',', {}, {})", "{} | join(',')"]
)
def test_a_number_that_cannot_be_written_out_is_refused(bench: Bench, number: str, form: str) -> None:
    with pytest.raises(ContentError, match="is a number with more than 30 digits"):
        bench("=" + form.replace("{}", number), HUGE)


@pytest.mark.parametrize(
    "expression", ["a * a", "a + 1", "a ** 2", "c * c", "c ** 100", "a // 3", "a % 3", "b | sum", "a | round(2)", "a | abs"]
)
def test_arithmetic_with_huge_numbers_is_refused(bench: Bench, expression: str) -> None:
    with pytest.raises(ContentError):
        bench("=" + expression, HUGE)


@pytest.mark.parametrize("number", ["1e999999999", "9" * 4000, "-1e999999999", "1e-999999999"])
def test_plain_json_takes_no_number_that_cannot_be_written_out(site: MakeSite, number: str) -> None:
    library = site({"m.yaml": "mapping: m\nfrom: json\nto: json\nset: {a: =a}\n"})
    document = library.formats["json"].parse(f'{{"a": {number}}}'.encode())
    with pytest.raises(MappingError, match="cannot be written as JSON"):
        library.chain(["m"], "json").apply(document, FACTS)


def test_a_long_list_without_repetitions_is_no_square(bench: Bench) -> None:
    values = ",".join(map(str, range(9_999)))
    assert bench("=a | split(',') | unique | count", f'{{"a": "{values}"}}') == 9_999
    same = b'{"a": [{"x": 1, "y": [1]}, {"y": [1], "x": 1}, {"x": 2}, 1, 1.0, "1"]}'
    assert len(bench("=a | unique", same)) == 4


def test_a_text_that_grows_is_refused(bench: Bench) -> None:
    long = ADT.replace("Worthing^Ann^Q", "x" * 400_000)
    with pytest.raises(ContentError, match="gives a text of more than 1,048,576 characters") as caught:
        bench("=PID-5.1 ~ PID-5.1 ~ PID-5.1", long)
    assert len(str(caught.value)) < 300
    with pytest.raises(ContentError, match="more than"):
        bench("=PID-5.1 | replace('x', 'yyyy')", long)


def test_the_results_of_one_message_have_a_bound(site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "MOST_OUTPUT", 1 << 20)
    library = site({"m.yaml": "mapping: m\nfrom: hl7v2\nto: json\nfor_each: NK1\nset: {a: =PID-5.1}\n"})
    message = ADT.replace("Worthing^Ann^Q", "x" * 100_000) + "NK1|1|a\n" * 20
    with pytest.raises(MappingError, match="the results of one message are more than 1 MiB together") as caught:
        library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(hl7(message)), FACTS)
    assert caught.value.reason == "poison"


# ── patterns ───────────────────────────────────────────────────────────────────────────────────────────────────────

CATASTROPHES = [
    "(a+)+$", "(a|a)*$", "(a*)*$", "(a|aa)+$", "(.*a){20}$", "(x+x+)+y", "(?:a?){50}a{50}", "a?" * 30 + "a" * 30, "(a{1,50}){1,50}b",
    "a{0,50}a{0,50}a{0,50}a{0,50}a{0,50}b", "(?:a|aa)" * 20 + "$", "(?:(?:a{1,5}){1,5}){1,5}$", "(a?b?c?d?){20}x", "^.*.*.*.*=", ".*.*.*=",
    "(?>a+)+b", "(?=(a+))*b", "((a{0,9}){0,9}){0,9}x", "(?:a*){3}b", "(a)\\1+", "(?P<n>a)(?P=n)", "(?(1)a|b)", "(?i:(a|A)+)+$", "(\\w+\\s?)+$",
    "^(([a-z])+.)+[A-Z]([a-z])+$", "(?:[a-zA-Z0-9]+)*@",
]  # fmt: skip


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_b126_a_pattern_that_could_run_away_is_refused_when_it_is_read(bench: Bench, pattern: str) -> None:
    written = pattern.replace("\\", "\\\\")
    with pytest.raises(ConfigurationError, match=r"repeat|alternatives|references|cannot be read"):
        bench.library.expression(f"=PID-5.1 is matching('{written}')", bench.library.formats["hl7v2"])


SOBER = [
    "^ZZ|TEST", r"^\d{4}-\d\d-\d\d$", r"^[A-Z]{2,10}-\d{1,6}$", r"^(?:\d{1,3}\.){3}\d{1,3}$", "a*b", "a*a*b", "(a|b)*c", "^(?:a|b)?a*b", "[^@]+@[^@]+",
    r"\bfoo\b", "(?i)test", ".*x", "[\\s\\S]*x", "(?:ab|cd){1,3}", "(?:aa|a){0,3}b", ".{0,50}.{0,50}x", "^a*a*$", "(?m)^a*a*$", "(?:a{0,50}b?){2}c", "a{1,5000}b",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SOBER)
def test_the_slowest_text_that_is_let_pass_ends_soon(pattern: str) -> None:
    test = matching(pattern)
    tried = 0
    for length in (10, 255, 256, 1_000, 4_095, 4_096, 6_400, 20_000, 100_000):
        for text in ("a" * length, "a" * (length - 1) + "!", "ab" * (length // 2), "a@" * (length // 2), "1." * (length // 2)):
            began = time.process_time()
            try:
                test(text)
            except Refused:
                continue
            tried += 1
            assert time.process_time() - began < 1
    assert tried >= 10
