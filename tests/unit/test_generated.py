"""What may become a function, and what may not."""

from __future__ import annotations

import pytest

from engine.generated import function


def test_a_function_over_bound_values() -> None:
    run = function("def run(a):\n    b = a + k0\n    return (b, type(b) is int)", {"k0": 2, "int": int})
    assert run(1) == (3, True)


@pytest.mark.parametrize(
    "text",
    [
        "def run(a): return 'text'",
        "def run(a): return b'text'",
        "def run(a): return f'{a}'",
        "def run(a):\n    import os",
        "def run(a): return open(a)",
        "def run(a): return __import__",
        "def run(a): return a.__class__",
        "def run(a): return (lambda: 1)()",
        "def run(a):\n    global b\n    b = 1",
        "x = 1",
        "def run(a): return 1\ndef other(a): return 2",
    ],
)
def test_what_is_no_code_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"generated code|one function"):
        function(text, {})
