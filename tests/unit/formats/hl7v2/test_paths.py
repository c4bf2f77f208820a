from __future__ import annotations

import pytest

from engine.errors import PathError
from engine.formats.hl7v2.paths import IN_EXPRESSIONS, STAR, Filter, compiled


def test_a_path_is_taken_apart() -> None:
    path = compiled("OBR[2]/OBX[-3.1='GLU'][*]-5[.2=\"x'y\"].1.2")
    assert [step.name for step in path.steps] == ["OBR", "OBX"]
    assert path.steps[0].selectors == (2,)
    assert path.steps[1].selectors == (Filter((3, 1), "GLU"), STAR)
    assert path.repeats == (Filter((2,), "x'y"),)
    assert (path.field, path.component, path.sub, path.many) == (5, 1, 2, True)
    assert compiled(".4.1")[1:6] == ((), 0, (), 4, 1)


@pytest.mark.parametrize(
    "path",
    ["PID", "PID-3", "PID-3.1", "PID-3.4.2", "PID-3[2].1", "PID-3[*].1", "PID-3[.5='MR'].1", "PID-3[.4.2='1.2'].1", "OBX[2]-5",
     "OBX[*]-5[*]", "OBX[-11='X']", "OBR[2]/OBX[*]-5", "Z01-3", "FT1-10", "ORDER_OBSERVATION", "ORDER_OBSERVATION[2]/OBX-5", ".1"],
)  # fmt: skip
def test_the_grammar_takes(path: str) -> None:
    assert compiled(path).text == path


@pytest.mark.parametrize(
    ("path", "said", "at"),
    [
        ("PID-3-1", "PID-3.1", 5),
        ("pid-3.1", "PID-3.1", 0),
        ("PID.3.1", "PID-3.1", 3),
        ("PID.3", "PID-3", 3),
        ("PID-3.1.2.3", "nothing is deeper", 9),
        ("PID-0", "count from 1", 4),
        ("PID-3[0]", "count from 1", 6),
        ("PID-3[.5=MR]", "condition on one of its components", 5),
        ("PID-3[-5='MR']", "condition on one of its components", 5),
        ("OBX[.11='X']", "condition on one of its fields", 3),
        ("PID-99999999999", "count from 1", 4),
        ("PI-3", "reading stopped", 0),
        ("PID-", "reading stopped", 3),
        ("PID/", "reading stopped", 4),
        ("ORDER-3", "is a group", 7),
        ("", "a path is needed", 0),
        (".1.2.3", "nothing is deeper", 4),
        (".x", "a relative path is", 0),
        ("PID-3 ", "reading stopped", 5),
    ],
)
def test_mistakes_are_told_with_the_right_form(path: str, said: str, at: int) -> None:
    with pytest.raises(PathError) as caught:
        compiled(path)
    assert said in str(caught.value)
    assert caught.value.at == at


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("first(PID-3[.5='MR'].1, PID-3.1) | required", ["PID-3[.5='MR'].1", "PID-3.1"]),
        ("FT1-10 - 1", ["FT1-10"]),
        ("PID-3-1", ["PID-3-1"]),
        ("-1 if FT1-6 == 'CR' else 1", ["FT1-6"]),
        ("OBR[2]/OBX[*]-5 | join(' ')", ["OBR[2]/OBX[*]-5"]),
        ("CAS | tuples(2, 3)", ["CAS"]),
        ("CASE-1 + code('gl', DEP=x.PID)", []),
        ("code('gl', GLN =1) and PID == 'PID'", ["PID"]),
        ("charge.FT1-3 + n.1 + 1.5", []),
        (".1 | required", [".1"]),
        ("(.4.1, a[0].1)", [".4.1"]),
        ("MSH-9.2 in ['P03']", ["MSH-9.2"]),
        ("OBX[-11='X'][*]-3.1", ["OBX[-11='X'][*]-3.1"]),
    ],
)
def test_paths_are_found_in_expressions(expression: str, found: list[str]) -> None:
    # String literals are the mapping language's to skip: here they are blanked as it does.
    quiet = expression.replace("'PID'", "     ").replace("['P03']", "       ")
    assert [match[0] for match in IN_EXPRESSIONS.finditer(quiet)] == found
