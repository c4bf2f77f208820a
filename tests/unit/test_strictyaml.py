"""YAML read strictly: every refusal has its place and its words, and what is accepted means what it looks like."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import ConfigurationError
from engine.strictyaml import Map, Seq, Text, load, load_file, mark, unclosed

COMMENTED = "a comment ended the value above, so this line does not belong to it. Move the comment to a line of its own."
UNUSED = "which site files do not use."
NOT_PAIRS = "expected lines of the form 'key: value' (with a space after the colon)."

REFUSED = [
    # YAML's silent cuts
    ("a: {v: =code('gl', dept, rev)}", ["1:8 a comma ended this value inside { }. Quote it or give it its own line."]),
    ("a: [=code(1, 2)]", ["1:5 a comma ended this value inside [ ]. Quote it or give it its own line."]),
    ("a: {about: Hello, world}", ["1:12 a comma ended this value inside { }. Quote it or give it its own line."]),
    ("a: {mrn: =PID-3[.5='MR'].1}", ["1:10 a [ ended this value inside { }. Quote it or give it its own line."]),
    ("a: [b, {c: =d[1]}]", ["1:12 a [ ended this value inside { }. Quote it or give it its own line."]),
    ("a: ='OBX #' ~ x", ["1:4 a # after a space ended this value (it begins a comment). Quote it."]),
    ("a: ='Note: ' ~ x", ["1:4 a colon and a space ended this value. Quote it."]),
    ("a: =x | default(y: z)", ["1:4 a colon and a space ended this value. Quote it."]),
    ("a: =note ~ b: c", ["1:4 a colon and a space ended this expression. Put it in quotes."]),
    ("about: to SAP: all of it", ["1:8 a colon and a space stand inside this value. Put it in quotes."]),
    ("a: =a | date # why\n  | required", [f"2:3 {COMMENTED}"]),
    ("a: =a\n  # why\n  | required", [f"3:3 {COMMENTED}"]),
    ("a: b\n  # why\n  c", [f"3:3 {COMMENTED}"]),
    ("a: =first(x", ["1:4 ( is opened here and never closed."]),
    ("a: ='x", ["1:4 ' is opened here and never closed."]),
    # structure
    ("a: b\n c: d", ["2:2 this line is indented deeper than the one above, which already has a value. Align the two."]),
    ("a:\n  b: c\n d: e", ["3:2 this line is not indented like those above it."]),
    ("mllp:x\nb: c", ["2:1 the line above has no space after its colon, so it is not a key. Write 'key: value'."]),
    ("a\nb: c", ["2:1 the line above is not 'key: value': is its colon missing?"]),
    ("a:\n - b\n c: d", ["3:2 a list item ('- ') is expected here: check the indentation."]),
    ("a:\n  b: c\n  - d", ["3:3 a list item ('- ') is not expected here: check the indentation."]),
    ("a: {b: c,, d: e}", ["1:10 a value is missing before ',', or there is one ',' too many."]),
    ("a: {b: c\nd: e", ["1:4 { is not closed (the text goes wrong on line 2)."]),
    ("a: [b", ["1:4 [ is not closed."]),
    ("a: ]", ["1:4 ] is not expected here. Put the value in quotes if it belongs to it."]),
    ("a: {b:c}", ["1:5 a space is missing after the colon."]),
    ("a: {b}", ["1:5 'b' has no value here. Write 'b: …'."]),
    ("a:b", [f"1:1 {NOT_PAIRS}"]),
    ("- a", [f"1:1 {NOT_PAIRS}"]),
    ("", ["is empty."]),
    ("# only a comment\n", ["is empty."]),
    ("? [a]\n: b", ["1:3 a key is one word or a quoted text, not a list or a mapping."]),
    ("'': b", ["1:1 a key is missing before the colon."]),
    # quotes
    ('a: "x', ["1:4 this quote is never closed."]),
    ('a: "x" y', ["1:8 nothing may follow the closing quote. Put the whole value in one pair of quotes."]),
    ("a: 'it's'", ["1:8 nothing may follow the closing quote. Put the whole value in one pair of quotes."]),
    ('a: "\\d"', ["1:5 \\d means nothing in double quotes. Use single quotes: there a backslash stands for itself."]),
    ("a: @x", ["1:4 a value cannot begin with @. Put it in quotes."]),
    ("a: %x", ["1:4 a value cannot begin with %. Put it in quotes."]),
    ("a: *.csv", ["1:4 a value cannot begin with * or &. Put it in quotes."]),
    # what YAML has and site files have not
    ("a: b\nc: d\na: e\na: f", [
        "3:1 'a' stands here a second time; the first is on line 1.",
        "4:1 'a' stands here a second time; the first is on line 1.",
    ]),
    ("a: {b: 1, b: 2}", ["1:11 'b' stands here a second time; the first is on line 1."]),
    ("<<: b", [f"1:1 '<<' is a merge key, {UNUSED} Write the keys out."]),
    ("a: !!str b", [f"1:4 '!!str' is a tag, {UNUSED} Remove it, or put the value in quotes."]),
    ("a: !!python/object/apply:os.system [ls]", [
        f"1:4 '!!python/object/apply:os.system' is a tag, {UNUSED} Remove it, or put the value in quotes."]),
    ("a: &x b\nc: *x", [
        f"1:4 '&x' is an anchor, {UNUSED} Remove it, or put the value in quotes.",
        f"2:4 '*x' is an alias, {UNUSED} Write the value, or put it in quotes.",
    ]),
    ("a: b\n---\nc: d", ["2:1 a second document begins here ('---'). A file holds one."]),
    ("%YAML 1.1\n---\na: b", ["1:1 directives (%YAML, %TAG) are not used: files are read as YAML 1.2."]),
    # characters
    ("a:\n\t- b", ["2:1 a tab: indent with spaces."]),
    ("a: b\n\tc", ["2:1 a tab: indent with spaces."]),
    ("a:\n  b: c\n \td: e", ["3:2 a tab: indent with spaces."]),
    ("a: \x07", ["1:4 the control character U+0007 stands here. Remove it."]),
    ("a: x\u2028y", ["1:5 an invisible line separator (U+2028) stands here. Remove it."]),
    # several at once, and none hidden behind another
    ("a: &x b\na: !t c\nd: =f(\n<<: e", [
        f"1:4 '&x' is an anchor, {UNUSED} Remove it, or put the value in quotes.",
        "2:1 'a' stands here a second time; the first is on line 1.",
        f"2:4 '!t' is a tag, {UNUSED} Remove it, or put the value in quotes.",
        "3:4 ( is opened here and never closed.",
        f"4:1 '<<' is a merge key, {UNUSED} Write the keys out.",
    ]),
]  # fmt: skip


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(text, "f.yaml")
    return [
        str(problem).removeprefix("f.yaml:").removeprefix("f.yaml").replace("  ", " ").strip()
        for problem in caught.value.problems
    ]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[repr(text)[:50] for text, _ in REFUSED])
def test_refused(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("a: NO\nb: 0450\nc: 12:30\nd: 1e3\ne: .inf\nf: 2024-01-01\ng: 0x1F\nh: 1_000\ni: on",
     {"a": "NO", "b": "0450", "c": "12:30", "d": "1e3", "e": ".inf", "f": "2024-01-01", "g": "0x1F", "h": "1_000", "i": "on"}),
    ("no: 1\non: 2\nnull: 3", {"no": "1", "on": "2", "null": "3"}),
    ("a:\nb: ~\nc: null\nd: ''", {"a": "", "b": "~", "c": "null", "d": ""}),
    ("a: =", {"a": "="}),
    ("a: =PID-3 # a comment", {"a": "=PID-3"}),
    ("a: =joined(', ',\n  PID-5)\n", {"a": "=joined(', ', PID-5)"}),
    ("a: {b: \"=code('gl', x)\", c: =PID-3}", {"a": {"b": "=code('gl', x)", "c": "=PID-3"}}),
    ("a: ='it\\'s' ~ x", {"a": "='it\\'s' ~ x"}),
    ("a: {b: , c: d}", {"a": {"b": "", "c": "d"}}),
    ("a: |\n  x\n  \ty\n", {"a": "x\n\ty\n"}),
    ("\ufeffa: b\r\nc: d\r\n", {"a": "b", "c": "d"}),
    ("%YAML 1.2\n---\na: b\n...\n", {"a": "b"}),
    ("a: 'Z*'\nb: [Z*, PD1]", {"a": "Z*", "b": ["Z*", "PD1"]}),
])  # fmt: skip
def test_accepted_as_typed(text: str, expected: dict[str, object]) -> None:
    assert load(text, "f.yaml") == expected


def test_every_value_knows_its_place() -> None:
    file = load("a: b\nc:\n  - {d: 'e'}\n  - f\n", "f.yaml")
    assert isinstance(file, Map)
    assert isinstance(file["c"], Seq)
    assert isinstance(file["c"][0]["d"], Text)
    assert mark(file.key("c")) == ("f.yaml", 2, 1)
    assert mark(file["a"]) == ("f.yaml", 1, 4)
    assert mark(file["c"][0]) == ("f.yaml", 3, 5)
    assert (mark(file["c"][0]["d"]), file["c"][0]["d"].style) == (("f.yaml", 3, 9), "'")
    assert mark(file["c"][1]) == ("f.yaml", 4, 5)
    assert mark(3) == ("", 0, 0)


@pytest.mark.parametrize(("text", "needle", "place"), [
    ("a: =one | two", "two", (1, 11)),
    ("a: =one\n\n   | two\n  # x", "two", (3, 6)),
    ("a:\n  =one\n  | three", "three", (3, 5)),
    ("a: 'one two'", "two", (1, 9)),
    ('a: "one two"', "two", (1, 9)),
    ("a: |\n  one\n   two\n", "two", (3, 4)),
    ('a: "o\\u006ee two"', "two", (1, 4)),  # an escape: only the beginning is known
    ("a: >\n  one\n  two\n", "two", (1, 4)),
])  # fmt: skip
def test_place_of_a_character_inside_a_value(text: str, needle: str, place: tuple[int, int]) -> None:
    value = load(text, "f.yaml")["a"]
    assert value.at(value.index(needle))[1:] == place


def test_alias_bomb_is_refused_at_once() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 10))
    started = time.process_time()
    found = problems("l0: &l0 [x, x, x, x, x, x, x, x, x]\n" + levels)
    assert time.process_time() - started < 1.0
    assert len(found) == 10 + 81


def test_depth_and_size_are_limited(tmp_path) -> None:
    assert load("a: " + "[" * 49 + "]" * 49, "f.yaml")
    assert problems("a: " + "[" * 50 + "]" * 50) == ["1:53 is nested more than 50 levels deep."]
    assert problems("a: " + "[" * 100_000) == ["1:53 is nested more than 50 levels deep."]
    too_large = ["is larger than 1 MiB. Split it into several files."]
    assert problems("a: " + "x" * (1 << 20)) == too_large
    assert problems("a: " + "ü" * (1 << 19)) == too_large
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a: " + b"x" * (50 << 20))
    with pytest.raises(ConfigurationError, match="is larger than 1 MiB"):
        load_file(path)


@pytest.mark.parametrize(("content", "expected"), [
    (b"about: caf\xe9\n", "f.yaml:1:11  byte 0xE9 is not UTF-8. Save the file as UTF-8."),
    ("a: b\nc: ü".encode("utf-16"), "f.yaml:1:1  byte 0xFF is not UTF-8. Save the file as UTF-8."),
    (None, "f.yaml  cannot be read: No such file or directory."),
])  # fmt: skip
def test_files_that_are_not_text(tmp_path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "f.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_file(path, "f.yaml")
    assert [str(problem) for problem in caught.value.problems] == [expected]


PRINTABLE = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")
SCALARS = st.text(PRINTABLE.filter(lambda letter: ord(letter) & 0xFFFE != 0xFFFE), max_size=60)


def quoted_single(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def quoted_double(value: str) -> str:
    """YAML 1.2 §5.7: every character may be written as an escape."""
    return '"' + "".join(letter if letter.isalnum() and letter.isascii() else f"\\U{ord(letter):08X}" for letter in value) + '"'


@settings(max_examples=400, deadline=None)
@given(SCALARS)
@example("=code('gl', a) # b: c")
@example("null")
@example(" leading and trailing ")
@example("{a: b, c}")
def test_quoted_text_survives(value: str) -> None:
    """B120: whatever is quoted is what was typed, in a block and inside { } and [ ]."""
    for quoted in (quoted_single(value), quoted_double(value)):
        file = load(f"a: {quoted}\nb: {{c: {quoted}, d: [{quoted}]}}\n", "f.yaml")
        assert file == {"a": value, "b": {"c": value, "d": [value]}}


def outcome(text: str) -> object:
    try:
        return load(text, "f.yaml")
    except ConfigurationError as error:
        return error.problems


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=200) | st.text("ab:-[]{}'\"#&*!|>%@`,?\n\t\r =<\\\x00\u2028", max_size=60))
@example("a: [")
@example("a: '\\")
@example("- : :")
@example("a: *")
@example("a: !<")
@example("a: %TAG ! x")
@example("\t")
def test_any_text_gives_a_mapping_or_problems_with_places(text: str) -> None:
    found = outcome(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert isinstance(found, Map) or found
    for problem in () if isinstance(found, Map) else found:
        assert 0 <= problem.line <= len(lines) + 1
        assert problem.text


@pytest.mark.parametrize(("expression", "opened"), [
    ("=a", ""), ("=f(x", "("), ("='a", "'"), ("='a\\'", "'"), ("=a[.5='MR'].1", ""), ("=f('(')", ""), ("=a)", ""),
])  # fmt: skip
def test_unclosed(expression: str, opened: str) -> None:
    assert unclosed(expression) == opened
