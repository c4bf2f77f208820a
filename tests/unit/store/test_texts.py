"""What the tables and their indexes make of text."""

from __future__ import annotations

from engine.store.texts import INDEXED, indexed, storable


def test_text_that_a_database_would_refuse_is_made_storable() -> None:
    assert storable("Zoë \N{SNOWMAN}") == "Zoë \N{SNOWMAN}"
    assert storable("a\0b\udc80c") == "a\N{REPLACEMENT CHARACTER}b?c"


def test_long_keys_are_cut_and_stay_apart() -> None:
    longest = "\N{OLD PERSIAN SIGN A}" * INDEXED
    assert indexed(longest) == longest
    cut = [indexed(longest + end) for end in ("a", "b", "a" * 9000)]
    cut.append(indexed(cut[0]))  # what the index has for one key may be another key
    assert len({longest, *cut}) == 5
    assert max(len(one.encode()) for one in cut) < 2200
