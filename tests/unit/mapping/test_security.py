"""Nothing of Python can be reached from an expression or a template, and nothing can be made huge.

Every payload ends as a lint error or as a refused value; what reaches a value must be plain data.
"""

from __future__ import annotations

import time
import tracemalloc
from datetime import date, datetime
from decimal import Decimal

import pytest

from engine.errors import ConfigurationError, ContentError
from engine.mapping.faults import Refused, Unreadable
from engine.mapping.reads import Surroundings
from engine.mapping.scope import OMIT
from engine.mapping.templates import Template
from engine.values import EMPTY, NULL
from tests.unit.mapping.material import ADT, FACTS, Bench
from tests.unit.mapping.payloads import CONTENT, ESCAPES, TEMPLATES

PLAIN = (str, Decimal, int, bool, date, datetime, type(EMPTY), type(NULL), type(OMIT))


def assert_plain(value: object) -> None:
    """Data and nothing else: no function, no type, no object of Python."""
    if isinstance(value, list):
        for item in value:
            assert_plain(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert type(key) is str
            assert_plain(item)
    else:
        assert isinstance(value, PLAIN), type(value)
        assert len(str(value)) <= 10_000


def test_there_are_enough_payloads() -> None:
    assert len(set(ESCAPES)) >= 120


@pytest.mark.parametrize("payload", ESCAPES, ids=[f"{number}-{payload[:30]!r}" for number, payload in enumerate(ESCAPES)])
def test_an_expression_cannot_escape(bench: Bench, payload: str) -> None:
    said = ""
    tracemalloc.start()
    begin = time.process_time()
    try:
        assert_plain(bench("=" + payload))
    except (ConfigurationError, ContentError) as error:
        said = str(error)
    finally:
        taken, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(said) < 600
    assert taken < 2
    assert peak < 32 << 20


@pytest.mark.parametrize("payload", TEMPLATES)
def test_a_template_cannot_escape(bench: Bench, payload: str) -> None:
    around = Surroundings(bench.library.formats["hl7v2"], bench.library.tables)
    begin = time.process_time()
    try:
        text = Template("t.j2", payload, around, escape=True).render(bench.document(ADT), {}, FACTS)
    except (Refused, Unreadable):
        text = ""
    else:
        for sign in ("<class", "&lt;class", "built-in", "<function", "&lt;function", " object at 0x", "Facts(", "engine."):
            assert sign not in text
        assert len(text) < 100
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("payload", CONTENT)
def test_content_is_never_evaluated(bench: Bench, payload: str) -> None:
    message = ADT.replace("Worthing^Ann^Q", payload)
    assert bench("=PID-5.1", message) == payload
    assert bench("=PID-5.1 ~ ''", message) == payload
    around = Surroundings(bench.library.formats["hl7v2"], {})
    plain = Template("t.j2", "{{ PID-5.1 }}", around, escape=False).render(bench.document(message), {}, FACTS)
    assert plain == payload
    escaped = Template("t.j2", "<a>{{ PID-5.1 }}</a>", around, escape=True).render(bench.document(message), {}, FACTS)
    assert "<script" not in escaped


def test_a_pattern_on_a_long_text_is_refused_not_run(bench: Bench) -> None:
    message = ADT.replace("Worthing^Ann^Q", "a" * 5000)
    begin = time.process_time()
    with pytest.raises(ContentError, match="is applied to at most"):
        bench("=PID-5.1 is matching('a.*b.*c')", message)
    assert time.process_time() - begin < 0.5


def test_the_slowest_pattern_that_passes_ends_soon(bench: Bench) -> None:
    message = ADT.replace("Worthing^Ann^Q", "a" * 256)
    begin = time.process_time()
    assert bench("=PID-5.1 is matching('a*a*b')", message) is False
    assert time.process_time() - begin < 1
