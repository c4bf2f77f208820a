"""What differs: by field where there are fields, complete, and in bounded time whatever comes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.views import align, compare
from engine.views.compare import Change, Difference, compared
from engine.views.content import opened

HEAD = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\r"


def difference(old: bytes, new: bytes) -> Difference:
    return compared(opened(old, len(old)), opened(new, len(new)))


def texts(found: Difference) -> list[tuple[str, str | None, str | None]]:
    return [(one.path, one.old, one.new) for one in found.changes]


def test_hl7_by_field_with_names() -> None:
    found = difference(HEAD + b"PID|1||7||DOE^JOHN|||M\r", HEAD + b"PID|1||7||DOE^JANE||19800101|F\r")
    assert found.changes[0] == Change("PID-5.2", "Patient Name › Given Name", "JOHN", "JANE", 1)
    assert texts(found)[1:] == [("PID-7", None, "19800101"), ("PID-8", "M", "F")]
    assert found.by == "field"


def test_a_field_without_components_is_its_first_one() -> None:
    assert texts(difference(HEAD + b"PID|||7\r", HEAD + b"PID|||7^^^G~8\r")) == [
        ("PID-3[1].4", None, "G"),
        ("PID-3[2]", None, "8"),
    ]


def test_a_segment_more_does_not_shift_the_others() -> None:
    old = HEAD + b"OBX|1|NM|a||1\rOBX|2|NM|b||2\r"
    new = HEAD + b"OBX|1|NM|a||1\rOBX|9|NM|z||9\rOBX|2|NM|b||3\rNTE|1\r"
    assert texts(difference(old, HEAD + b"OBX|1|NM|a||1\rOBX|9|NM|z||9\rOBX|2|NM|b||2\r")) == [("OBX[2]", None, "|9|NM|z||9")]
    found = texts(difference(old, new))
    assert ("NTE", None, "|1") in found
    assert texts(difference(new, HEAD)) == [
        ("OBX[1]", "|1|NM|a||1", None), ("OBX[2]", "|9|NM|z||9", None), ("OBX[3]", "|2|NM|b||3", None), ("NTE", "|1", None)
    ]  # fmt: skip


def test_json_and_xml_by_path() -> None:
    assert texts(difference(b'{"a": {"b": 1, "c": "x"}, "d": [1]}', b'{"a": {"c": "y", "b": 1}, "d": [1, 2], "e": null}')) == [
        ("a.c", '"x"', '"y"'), ("d[2]", None, "2"), ("e", None, "null")
    ]  # fmt: skip
    assert texts(difference(b'<a x="1"><b>t</b></a>', b'<a x="2"><b>u</b></a>')) == [("/a/@x", "1", "2"), ("/a/b", "t", "u")]


def test_text_by_line_and_unlike_things_as_text() -> None:
    found = difference(b"one\ntwo\nthree\n", b"one\n2\nthree\nfour\n")
    assert (found.by, texts(found)) == ("line", [("2", "two\n", "2\n"), ("4", None, "four\n")])
    assert found.same == 2
    mixed = difference(HEAD, b"{}")
    assert "share no paths" in mixed.notes[0]


def test_what_is_long_is_compared_in_part_and_said() -> None:
    long = b"\n".join(b"%d" % n for n in range(compare.LINES + 10))
    found = difference(long, long + b"x")
    assert "5,000 lines" in found.notes[0]
    assert not found.changes
    other = b"\n".join(b"x%d" % n for n in range(compare.LINES))
    found = difference(long, other)
    assert len(found.changes) == compare.SHOWN
    assert found.more == compare.LINES - compare.SHOWN
    assert "position by position" in found.notes[-1]


sequences = st.lists(st.sampled_from("abcd"), max_size=14)


@given(sequences, sequences)
def test_aligned_pairs_hold_every_position_once_and_in_order(old: list[str], new: list[str]) -> None:
    found, exact = align.pairs(old, new)
    assert exact
    assert [a for a, _ in found if a is not None] == list(range(len(old)))
    assert [b for _, b in found if b is not None] == list(range(len(new)))
    common = sum(1 for a, b in found if a is not None and b is not None)
    assert all(old[a] == new[b] for a, b in found if a is not None and b is not None)
    assert common == longest(old, new)


def longest(old: list[str], new: list[str]) -> int:
    """The length of the longest common subsequence, by its definition."""
    row = [0] * (len(new) + 1)
    for one in old:
        above = row[:]
        for n, other in enumerate(new, 1):
            row[n] = above[n - 1] + 1 if one == other else max(row[n - 1], above[n])
    return row[-1]


def test_what_differs_too_much_is_paired_by_position() -> None:
    old, new = ["s", *map(str, range(2000))], ["s", *(f"n{n}" for n in range(1500))]
    found, exact = align.pairs(old, new)
    assert not exact
    assert found[0] == (0, 0)
    assert found[-1] == (2000, None)
    assert len(found) == 2001


fields = st.lists(st.sampled_from([b"", b"a", b"b^c", b"d~e", b"f&g", b'""', b"\\T\\"]), max_size=6).map(b"|".join)
messages = st.lists(st.tuples(st.sampled_from([b"PID", b"OBX", b"NTE", b"ZZZ"]), fields), max_size=6).map(
    lambda rows: HEAD + b"".join(name + b"|" + rest + b"\r" for name, rest in rows)
)


@settings(max_examples=200)
@given(messages, messages)
def test_equal_messages_differ_in_nothing_and_others_in_something(old: bytes, new: bytes) -> None:
    assert difference(old, old).changes == ()
    found = difference(old, new)
    if found.changes:
        assert all(one.old != one.new for one in found.changes)
    else:  # the same values: what is left are empty fields at the ends, or a component that is alone
        assert {line.partition(b"|")[0] for line in old.split(b"\r")} == {line.partition(b"|")[0] for line in new.split(b"\r")}
