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

ESCAPES = [
    "PID-5.__class__", "PID-5.1.__class__", "(PID-5).__class__", "(PID-5).__class__.__mro__", "''.__class__", "('').__class__",
    "''.__class__.__mro__[1].__subclasses__()", "().__class__.__bases__[0]", "(1).__class__", "[].__class__", "[]['__class__']",
    "message.__class__", "message.id.__class__", "site.__init__.__globals__", "today.__class__", "n.__class__", "n.real",
    "omit.__class__", "null.__class__", "self", "self.__init__", "self._TemplateReference__context", "loop", "caller()", "varargs",
    "config", "request", "g", "cycler", "cycler.__init__.__globals__.os", "joiner()", "namespace()", "lipsum()", "range(10)",
    "range(999999999)", "dict()", "dict(a=1)", "lipsum.__globals__", "get_flashed_messages.__globals__", "url_for.__globals__",
    "__import__('os')", "eval('1')", "exec('1')", "open('/etc/passwd')", "print(1)", "getattr(PID-5, 'raw')", "type(1)", "vars()",
    "globals()", "breakpoint()", "first.__globals__", "first.__call__(1)", "code.__self__", "first(first)", "joined.x",
    "PID-5 | attr('__class__')", "PID-5 | map('upper')", "PID-5 | map(attribute='__class__')", "PID-5 | selectattr('__class__')",
    "'%s' | format(PID-5)", "'{0.__class__}'.format(PID-5)", "'{0.__class__}' | format(1)", "('{0.__class__}').format(1)",
    "'%1000000000d' | format(1)", "'x' | center(1000000000)", "'x' | indent(999999999)", "'x' | wordwrap(1)", "PID-5 | tojson",
    "PID-5 | pprint", "PID-5 | safe", "PID-5 | e", "PID-5 | string", "PID-5 | list", "PID-5 | xmlattr", "PID-5 | random",
    "[1] | sort(attribute='__class__')", "[1] | groupby('__class__')", "[[1]] | sum(start=[])", "PID-5 | filesizeformat",
    "PID-5 is callable", "PID-5 is mapping", "PID-5 is sameas(1)", "PID-5 is filter('x')",
    "'x' * 1000000000", "'x' * 10 ** 9", "[1] * 1000000000", "10 ** 1000000000", "9 ** 9 ** 9 ** 9", "2 ** -1000000000",
    "9999999999999999999999999999 * 9999999999999999999999999999", "'x' | pad(1000000000)", "'x' | truncate(1000000000)",
    "'%' % 1", "'%1000000000d' % 1", "'%s' % PID-5", "PID-7 | date | text('%1000000000d')", "PID-7 | date | text('%9999Y')",
    "message.received | text('%-d')", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a|a)*$')",
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a*)*$')", "'aaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a+a+)+$')",
    "'aaaa' is matching('(?=(a+))*b')", "'aaaa' is matching('(a)\\\\1+')", "'aaaaaaaa' is matching('.*.*.*.*.*=')",
    "PID-5 | code('../../etc/passwd')", "PID-5 | code('/etc/passwd')", "PID-5 is listed('../codes/sex')",
    "{{ 7*7 }}", "{% for x in y %}", "{# #}", "lambda: 0", "[x for x in (1,)]", "PID-5 if", "x := 1", "a.b.c()", "(first)(1)",
    "first(**PID-5)", "first(*PID-5)", "[1][0]", "'abc'[0]", "'abc'[::-1]", "`id`", "${7*7}", "#{7*7}", "\\u007b", "\x00", "PID-5;1",
    "first(" * 30 + "1" + ")" * 30, "(" * 200 + "1" + ")" * 200, "-" * 3000 + "1", "not " * 900 + "1", " ~ ".join(["1"] * 900),
    "[" * 100 + "]" * 100, "1 if 1 else " * 400 + "1", "'" + "x" * 5000 + "'",
]  # fmt: skip

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


TEMPLATES = [
    "{{ ''.__class__ }}", "{{ ''['__class__'] }}", "{{ m.__class__ }}", "{{ m['__class__'] }}", "{{ message.__class__ }}",
    "{{ self }}", "{{ self.__init__ }}", "{{ loop }}", "{{ range(10) }}", "{{ lipsum() }}", "{{ cycler('a') }}", "{{ namespace() }}",
    "{{ dict() }}", "{{ joiner() }}", "{{ ''|attr('__class__') }}", "{{ '%s'|format(m) }}", "{{ '{0.__class__}'.format(m) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(m) }}", "{{ 'x' * 1000000000 }}", "{{ 10 ** 1000000000 }}", "{{ [1] * 1000000000 }}",
    "{{ nothing }}", "{{ message.nothing }}", "{{ message.items() }}", "{{ message.get('id') }}", "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}", "{% extends 'x' %}", "{% from 'x' import y %}", "{{ message['_mapping'] }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}", "{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}",
    "{% for x in [1] %}{{ loop._undefined }}{% endfor %}", "{% macro a() %}{{ caller() }}{% endmacro %}{{ a() }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{% macro a() %}{% endmacro %}{{ a.__class__ }}{{ a.name.__class__ }}",
    "{% call(x) a %}{% endcall %}", "{{ scope__ }}", "{{ scope__.facts }}", "{{ m._document }}", "{{ m['PID-5'].raw.__class__ }}",
    "{{ today.__class__ }}", "{{ today.strftime('%1000000000d') }}", "{{ today|text('%1000000000d') }}", "{{ 'x'|pad(999999999) }}",
    "{{ 'x'|safe }}", "{{ 'x'|e }}", "{{ m|tojson }}", "{{ m|list }}", "{{ [1]|map('upper')|list }}", "{{ 1|e|attr('x') }}",
    "{{ 'x'|replace('x', 'y' * 100000000) }}", "{% if ''.__class__ %}x{% endif %}", "{{ (1).__class__ }}", "{{ 'a' is callable }}",
    "{{ 'a' is mapping }}", "{{ m() }}", "{{ message() }}", "{{ 'abc'[::-1] }}", "{{ 'a' 'b' }}{{ x }}", "{{ undefined_name.x.y }}",
    "{% filter upper %}{{ ''.__class__ }}{% endfilter %}", "{% set x = message.__class__ %}{{ x }}", "{% do 1 %}", "{% debug %}",
]  # fmt: skip


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


CONTENT = ["{{ 7*7 }}", "{% for x in y %}", "=7*7", "=PID-3", "'; DROP TABLE message; --", "<script>alert(1)</script>", "${7*7}"]


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
