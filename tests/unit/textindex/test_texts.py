"""Content as text: nothing is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.textindex.postgres import vector
from engine.textindex.texts import MOST_BYTES, text_of
from engine.textindex.words import Words, words


def msh(charset: str, text: bytes) -> bytes:
    return f"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1||||||{charset}\rNTE|1||".encode() + text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (msh("8859/1", "Müller".encode("latin-1")), "muller"),
        (msh("8859/2", "Łódź".encode("iso8859-2")), "łodz"),
        (msh("UNICODE UTF-8", "Müller".encode()), "muller"),
        (msh("", "Müller".encode("latin-1")), "muller"),
        (msh("~ISO IR87", "山田".encode("iso2022_jp")), "山田"),
        (msh("UNICODE UTF-8", "Müller".encode("latin-1")), "muller"),  # a lie
        (msh("KLINGON", "Müller".encode()), "muller"),
        ("\ufeffMüller".encode(), "muller"),
        (b'{"a":"M\\u00fcller\\nx"}', "a muller x"),
        (b"<a>M&#252;ller &amp; Co</a>", "a muller co a"),
        (msh("", b"M\\T\\M\\.br\\end \\X0D\\x"), "m m end x"),
        (b"", ""),
        (b"\xff\xfe\x00\x01", "yþ"),
    ],
)
def test_content_is_read_as_what_it_says_it_is(content: bytes, expected: str) -> None:
    found = words(text_of(content), 1000).plain
    assert " ".join(found[found.index("nte") + 2 :] if "nte" in found else found) == expected


def test_a_letter_cut_in_two_spoils_nothing() -> None:
    assert text_of(b"x" + "é".encode() * MOST_BYTES)[1:].strip("é") == ""


@given(st.binary(max_size=300), st.sampled_from([b"", b"MSH", b"MSH|^~\\&|", b"{", b"<", b"["]))
def test_nothing_is_refused(content: bytes, beginning: bytes) -> None:
    words(text_of(beginning + content), 100)


def test_a_vector_never_grows_beyond_what_postgresql_takes() -> None:
    """A tsvector holds a megabyte: the most hostile message has 16,000 different words of the longest kind."""
    many = Words([f"{n:05}" + "x" * 59 for n in range(16_000)], [])
    empty = Words([], [])
    assert 500_000 < len(vector((many, empty, empty, empty)).encode()) < 1_000_000
    often = vector((Words(["a"] * 5000, []), empty, Words(["a"], ["a-b"]), empty))
    assert often.count(",") == 254
    assert "'a-b':5004C" in often
