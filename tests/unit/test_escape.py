from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.escape import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Größe, 漢字", "plain, Größe, 漢字"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x1b[31m\x9b2J\x7f\x00", r"\x1b[31m\x9b2J\x7f\x00"),
        ("\u202edlrow\u2066\u2028", r"\u202edlrow\u2066\u2028"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_does_not_print_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_long_text_is_cut_and_says_so() -> None:
    assert visible("abcdef", 4) == "abc…"
    assert visible("abcd", 4) == "abcd"


@given(st.text())
def test_the_result_is_one_line_without_controls(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    shown.encode()  # no surrogates are left
