from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ContentError
from engine.formats.hl7v2.syntax import syntax

USUAL = syntax("|", r"^~\&")
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="﷐﷑﷒﷓﷔"))


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (r"a\F\b\S\c\R\d\T\e\E\f", "a|b^c~d&e\\f"),
        (r"\X0D\\X0A\\X41C3A9\ ", "\r\nAé "),
        (r"line 1\.br\line 2\.sp2\line 4\.ce\\.sk3\x", "line 1\nline 2\n\nline 4\n   x"),
        (r"\H\bold\N\ \.fi\\.in+4\plain", "bold plain"),
        (r"\Zlocal\ \C2842\ \XZZ\ \X4\ \unknown\ ", r"\Zlocal\ \C2842\ \XZZ\ \X4\ \unknown\ "),
        (r"\XFF\ ", r"\XFF\ "),  # no UTF-8
        (r"ends with \E\ ", "ends with \\ "),
        ("ends with \\E\\", "ends with \\"),
        (r"\E\R\ ", "\\R\\ "),
        ("C:\\temp", "C:\\temp"),
        (r"\P\ ", r"\P\ "),  # no truncation character declared
        ("", ""),
    ],
)
def test_escapes_are_read_as_people_mean_them(sent: str, meant: str) -> None:
    assert USUAL.unescape(sent) == meant


def test_escapes_follow_the_delimiters_of_the_message() -> None:
    odd = syntax("#", "!@%*$")
    assert odd.unescape("a%F%b%S%c%R%d%T%e%E%f%P%g") == "a#b!c@d*e%f$g"
    assert odd.escaped("a|b#c$") == "a|b%F%c%P%"


@given(TEXT)
def test_what_is_escaped_reads_back_the_same(text: str) -> None:
    for marks in (USUAL, syntax("#", "!@%*"), syntax("|", r"^~\&#")):
        escaped = marks.escaped(text)
        assert marks.unescape(escaped) == text
        assert not set(escaped) & {marks.field, marks.component, marks.repetition, marks.subcomponent, "\r", "\n", "\x0b", "\x1c"}


def test_a_million_backslashes_take_linear_time() -> None:
    start = time.process_time()
    USUAL.unescape("\\" * 1_000_001)
    USUAL.unescape("\\E" * 500_000)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("field", "declared", "place"),
    [("", "", "MSH-1"), ("A", r"^~\&", "MSH-1"), (" ", r"^~\&", "MSH-1"), ("|", "", "MSH-2"), ("|", "||||", "MSH-2"),
     ("|", "^^^^", "MSH-2"), ("|", "ABCD", "MSH-2"), ("|", r"^~\|", "MSH-2")],
)  # fmt: skip
def test_unusable_delimiters_are_refused_by_place(field: str, declared: str, place: str) -> None:
    with pytest.raises(ContentError) as caught:
        syntax(field, declared)
    assert caught.value.place == place


def test_a_doubled_backslash_in_msh_2_means_one() -> None:
    assert syntax("|", r"^~\\&").subcomponent == "&"
    assert syntax("|", r"^~\\&#").truncation == "#"


def test_without_an_escape_character_text_with_delimiters_is_refused_rather_than_mangled() -> None:
    short = syntax("|", "^~")
    assert short.escaped("plain & simple \\") == "plain & simple \\"
    with pytest.raises(ContentError, match="no escape character"):
        short.escaped("a|b")
