"""Texts as words: the same for what is indexed and for what is asked."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import WardlineError
from engine.textindex import NotWords, Phrase
from engine.textindex.words import LONGEST, Wanted, folded, wanted, words

MOST = 1000


def plain(text: str) -> list[str]:
    return words(text, MOST).plain


def joined(text: str) -> list[str]:
    return words(text, MOST).joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PID|1||4711^^^WLGH^MR~99&x\\T\\y", "pid 1 4711 wlgh mr 99 x t y"),
        ('{"name":{"family":"Doe"},"n":12.50}', "name family doe n 12 50"),
        ("<Name given='Ann'>Doe</Name>", "name given ann doe name"),
        ("NM1*85*2*CLINIC:HC>1~", "nm1 85 2 clinic hc 1"),
        ("Émile Müller-Lüdenscheidt STRASSE straße", "emile muller ludenscheidt strasse strasse"),
        ("\0\r\n\x1c|||", ""),
        ("half \ud800 pair", "half pair"),
        ("İstanbul ﬁn Ⅻ ½", "istanbul fin xii 1 2"),
        ("患者^山田", "患者 山田"),
    ],
)
def test_delimiters_separate_and_case_and_accents_do_not_count(text: str, expected: str) -> None:
    assert " ".join(plain(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A-4711/B", ["a-4711/b"]),
        ("on 2026-11-21, 10.50 each; 10.50 more", ["2026-11-21", "10.50"]),
        ("ann.doe@example.org snake_case", ["ann.doe@example.org", "snake_case"]),
        ("-4711- .5 a--b a./b", []),
        ("x" * 40 + "-" + "y" * 40, []),
    ],
)
def test_a_joined_word_is_found_whole_and_in_its_parts(text: str, expected: list[str]) -> None:
    assert joined(text) == expected


def test_what_nobody_types_is_left_out() -> None:
    assert plain("a " + "x" * (LONGEST + 1) + " b " + "y" * LONGEST) == ["a", "b", "y" * LONGEST]
    lump = "JVBERi0xLjQKJeLjz9MK/MSAwIG9iago8PC9UeXBlL0NhdGFsb2c+vUGFnZXM" * 50
    assert plain(f"OBX|1|ED|PDF^Base64^{lump}==|done") == ["obx", "1", "ed", "pdf", "base64", "done"]
    digest = "0123456789abcdef" * 4
    assert plain(f"sha256 {digest}") == ["sha256", digest]


def test_the_first_words_are_kept() -> None:
    assert words("a b c-d e", 3).plain == ["a", "b", "c"]
    assert len(words("ab " * 5000, 100).plain) == 100


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("SMI*", [("smi*",)]),
        ("DOE^JANE", [("doe", "jane")]),
        ("doe, jan*", [("doe", "jan*")]),
        ("2026-11-21", [("2026-11-21",)]),
        ("2026-1*", [("2026-1*",)]),
        ("Doe A-1 x", [("a-1",), ("doe", "a", "1", "x")]),
        ("SMI* jane", [("smi*",), ("jane",)]),
        ("NM1*85*2", [("nm1", "85", "2")]),
        ("x" * 40 + "-" + "y" * 40, [("x" * 40, "y" * 40)]),
    ],
)
def test_phrases(phrase: str, expected: list[tuple[str, ...]]) -> None:
    found = wanted([Phrase(phrase, "in")])
    assert [(*one.words[:-1], one.words[-1] + "*" * one.prefix) for one in found] == expected
    assert {one.stage for one in found} == {"in"}


@pytest.mark.parametrize("text", ["", "|^~\\&", "*", "\0", "\ud800", "a*", "x" * (LONGEST + 1)])
def test_what_cannot_be_looked_for_is_said(text: str) -> None:
    with pytest.raises(NotWords):
        wanted([Phrase("good"), Phrase(text)])


def test_nothing_is_not_everything() -> None:
    with pytest.raises(NotWords):
        wanted([])
    with pytest.raises(WardlineError, match="no such stage"):
        wanted([Phrase("a", "sideways")])


@given(st.text())
def test_words_hold_nothing_that_an_index_could_take_for_its_own_language(text: str) -> None:
    found = words(text, MOST)
    for word in found.plain:
        assert word.isalnum()
        assert len(word) <= LONGEST
    for word in found.joined:
        assert not set(word) & set("'\"\\*:() &|!<>\0")
        assert len(word) <= LONGEST
    " ".join(found.plain).encode()


@given(st.text())
def test_folding_again_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert plain(text) == plain(unicodedata.normalize("NFD", text))


@given(st.text(alphabet="aB1é-./_@|^ *\\\"'", min_size=1, max_size=60), st.data())
def test_whatever_stands_in_a_text_is_found_by_its_words(text: str, data: st.DataObject) -> None:
    """A piece cut at separators is a phrase whose words stand one after another, or are joined words of the text."""
    pieces = [piece for piece in text.split("|") if plain(piece)]
    if not pieces:
        return
    piece = data.draw(st.sampled_from(pieces)).replace("*", " ")
    if not plain(piece):
        return
    whole = words(text, MOST)
    for one in wanted([Phrase(piece)]):
        if len(one.words) == 1 and one.words[0] in whole.joined:
            continue
        assert _occurs(one, whole.plain)


def _occurs(one: Wanted, among: list[str]) -> bool:
    size = len(one.words)
    return any(tuple(among[at : at + size]) == one.words for at in range(len(among) - size + 1))
