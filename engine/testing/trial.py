"""Mappings tried out, with texts that nobody has saved: what comes of a message, what is wrong with the text, what its tests say.

The site's files are not touched: a trial works on a copy of `mappings/` with the edited texts in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from engine import registry
from engine.contracts import Facts
from engine.errors import ConfigurationError, WardlineError
from engine.mapping import Library
from engine.mapping.explain import explain
from engine.mapping.step import Step
from engine.model import Heading
from engine.testing.apart import Apart, ask
from engine.testing.mappings import run

LARGEST: Final = 1 << 20  # bytes of a message or of a file that is tried


class TooLarge(WardlineError):
    """What is tried is larger than what is tried here."""


@contextmanager
def overlaid(site: Path, texts: Mapping[str, str]) -> Iterator[Path]:
    """A directory with the site's mappings, `texts` in place of those of its files that have these names. Nothing is written
    into the site."""
    with TemporaryDirectory(prefix="wardline-trial-") as place:
        copy = Path(place)
        (copy / "mappings").mkdir()
        for path in (site / "mappings").iterdir():
            if path.is_file() and path.suffix in (".yaml", ".j2", ".yml"):
                shutil.copyfile(path, copy / "mappings" / path.name)
        for name in ("mappings/codes", "samples", "conf"):
            if (site / name).is_dir():
                (copy / name).symlink_to((site / name).resolve(), target_is_directory=True)
        for name, text in texts.items():
            (copy / name).write_text(text, "utf-8", newline="")
        yield copy


def try_out(
    site: Path,
    chain: Sequence[str],
    content: bytes,
    facts: Facts,
    texts: Mapping[str, str],
    begun: Callable[[Apart], None] = lambda apart: None,
) -> dict[str, Any]:
    """What `explain` tells of the chain, in a process with the bounds of a translator. Raises apart.Ended, TooLarge."""
    _bounded(content, texts)
    with overlaid(site, texts) as copy:
        found: dict[str, Any] = orjson.loads(ask(_explained, str(copy), list(chain), content, tuple(facts), begun=begun))
        return found


def run_tests(
    site: Path, mappings: Sequence[str], texts: Mapping[str, str], begun: Callable[[Apart], None] = lambda apart: None
) -> list[dict[str, Any]]:
    """The tests that stand beside these mappings, with their differences. Raises apart.Ended, TooLarge."""
    _bounded(b"", texts)
    with overlaid(site, texts) as copy:
        found: list[dict[str, Any]] = orjson.loads(ask(_tested, str(copy), list(mappings), begun=begun))
        return found


def _bounded(content: bytes, texts: Mapping[str, str]) -> None:
    if len(content) > LARGEST or any(len(text) > LARGEST for text in texts.values()):
        raise TooLarge(f"at most {LARGEST >> 20} MiB are tried here; wardline map takes more")


def as_sent(text: str, source: str, encoding: str = "utf-8") -> bytes:
    """The bytes that a pasted text stands for: HL7's lines end in a carriage return, however they were pasted."""
    if source == "hl7v2":
        lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
        text = "".join(f"{line}\r" for line in lines)
    return text.encode(encoding, "backslashreplace")


# ── in the process ─────────────────────────────────────────────────────────────────────────────────────────────────


def _explained(say: Callable[[bytes], None], directory: str, chain: list[str], content: bytes, facts: tuple[Any, ...]) -> None:
    explanation = explain(Path(directory), chain, content, _facts(facts), registry.formats(), registry.entities())
    say(orjson.dumps(explanation.data()))


def _facts(given: tuple[Any, ...]) -> Facts:
    """A heading travels as a plain tuple."""
    facts = Facts(*given)
    return facts._replace(heading=Heading(*facts.heading))


def _tested(say: Callable[[bytes], None], directory: str, mappings: list[str]) -> None:
    library = Library.load(Path(directory), registry.formats(), registry.entities())
    found: list[Any] = []
    for name in mappings:
        if name in library.names and _step(library, name) is not None:
            found += run(library, Path(directory), [name])
        else:
            found.append(
                {"subject": name, "test": "", "passed": False, "error": "the mapping has errors of its own", "where": ""}
            )
    say(orjson.dumps(found, default=str))


def _step(library: Library, name: str) -> Step | None:
    try:
        return library.step(name)
    except ConfigurationError:
        return None
