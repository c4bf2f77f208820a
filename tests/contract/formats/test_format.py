"""What every `Format` promises (`engine.contracts`), for each one that is registered."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.contracts import Format, Node
from engine.errors import ContentError, PathError
from engine.model import Delivered, Heading, Receipt, Verdict
from engine.registry import FormatKind, formats
from engine.values import EMPTY

SAMPLES: dict[str, list[bytes]] = {
    "hl7v2": [
        b"MSH|^~\\&|A|B|C|D|2026||ADT^A01^ADT_A01|M1|P|2.5\rEVN|A01\rPID|1||7^^^H~8||DOE^JANE\r",
        b"MSH#!@%*#A#B#C#D#2026##ORU!R01#M2#P#2.4\nPID#1\nOBR#1\nOBX#1#ST#X##1\n",
    ],
    "json": [b'{"a": {"b": [1, 2.50, "x"]}, "c": null}', b'[{"a": "1"}]'],
    "raw": [b"", b"anything \xff\x00"],
}
"""Content that each of our own formats must read. A format without a line here is tried on all of it."""

RECEIPTS = [
    Receipt(Verdict.ACCEPTED, 1 << 50, 1_763_721_600_000_000),
    Receipt(Verdict.REFUSED, 0, 1_763_721_600_000_000, "no", "PID-3", "101"),
    Receipt(Verdict.UNAVAILABLE),
]


def kinds() -> list[Any]:
    return [pytest.param(kind, id=name) for name, kind in formats().items()]


@pytest.fixture(params=kinds())
def kind(request: pytest.FixtureRequest) -> FormatKind:
    found: FormatKind = request.param
    return found


@pytest.fixture
def form(kind: FormatKind) -> Format:
    return kind.build()


def samples(form: Format) -> list[bytes]:
    if form.name in SAMPLES:
        return SAMPLES[form.name]
    return [content for several in SAMPLES.values() for content in several if _readable(form, content)]


def _readable(form: Format, content: bytes) -> bool:
    try:
        form.parse(content)
    except ContentError:
        return False
    return True


def test_a_declaration_and_what_it_builds_agree(kind: FormatKind, form: Format) -> None:
    assert (form.name, form.content_type) == (kind.name, kind.content_type)
    assert kind.about.endswith(".")
    assert isinstance(form.paths, re.Pattern)
    assert kind.options.__doc__


def test_content_renders_as_it_came(form: Format) -> None:
    for content in samples(form):
        assert form.render(form.parse(content)) == content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.one_of(st.binary(max_size=200), st.sampled_from([c for s in SAMPLES.values() for c in s])))
def test_any_bytes_are_read_or_refused_as_content(form: Format, content: bytes) -> None:
    try:
        heading = form.heading(content)
    except ContentError:
        pass
    else:
        assert isinstance(heading, Heading)
        assert all(isinstance(part, str) for part in heading)
    if _readable(form, content):
        assert form.render(form.parse(content)) == content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.binary(max_size=200), receipt=st.sampled_from(RECEIPTS))
def test_any_bytes_are_acknowledged_the_same_way_twice(form: Format, content: bytes, receipt: Receipt) -> None:
    for each in (content, *samples(form)):
        answer = form.acknowledge(each, receipt)
        assert answer == form.acknowledge(each, receipt)
        assert answer is None or isinstance(answer, bytes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(reply=st.binary(max_size=200))
def test_no_random_answer_is_success(form: Format, reply: bytes) -> None:
    for content in samples(form):
        assert not isinstance(form.judge(content, reply), Delivered)


def test_an_acknowledgement_is_never_answered(form: Format) -> None:
    for content in samples(form):
        for receipt in RECEIPTS:
            answer = form.acknowledge(content, receipt)
            assert answer is None or form.acknowledge(answer, RECEIPTS[0]) is None


def test_our_own_positive_answer_is_success_where_there_is_one(form: Format) -> None:
    for content in samples(form):
        answer = form.acknowledge(content, RECEIPTS[0])
        if answer is not None:
            assert isinstance(form.judge(content, answer), Delivered)


def test_bad_paths_raise_path_errors_everywhere(form: Format) -> None:
    for content in samples(form):
        document = form.parse(content)
        for path in ("", "[", "a b", "\x00", "PID-3[", "..", "-"):
            with pytest.raises(PathError):
                form.check_path(path)
            for use in (document.__getitem__, document.all, document.place, document.turns):
                with pytest.raises(PathError):
                    use(path)


def test_the_tree_is_made_of_nodes(form: Format) -> None:
    def check(node: Node) -> int:
        assert isinstance(node.path, str)
        assert isinstance(node.value, str)
        assert not (node.value and node.children)
        return 1 + sum(check(child) for child in node.children)

    for content in samples(form):
        assert sum(check(node) for node in form.parse(content).nodes()) > 0


def test_editing_leaves_the_original_alone(form: Format) -> None:
    for content in samples(form):
        document = form.parse(content)
        try:
            edit = form.edit(document)
        except NotImplementedError:
            return
        form.identify(edit, "id-1")
        assert form.render(document) == content
        assert form.heading(form.render(edit)).control_id in ("id-1", form.heading(content).control_id)


def test_paths_that_it_finds_are_in_its_grammar_and_readable(form: Format) -> None:
    text = " ".join(node.path for content in samples(form) for node in _all_nodes(form.parse(content).nodes()))
    for content in samples(form):
        document = form.parse(content)
        for match in form.paths.finditer(text):
            form.check_path(match[0])
            value = document[match[0]]
            assert value is EMPTY or value is not None
            assert isinstance(document.all(match[0]), list)
            assert isinstance(document.place(match[0]), str)


def _all_nodes(nodes: Any) -> list[Node]:
    return [each for node in nodes for each in (node, *_all_nodes(node.children))]
