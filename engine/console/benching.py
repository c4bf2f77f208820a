"""What the workbench keeps: who tries what just now, and what a site has to try."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.console.answers import Conflict, Invalid, TooMuch
from engine.console.home import Home
from engine.strictyaml import Map, read_file
from engine.testing.apart import Apart, Ended

AT_ONCE: Final = 3  # trials of all persons
WAIT: Final = 8.0  # seconds for one's turn
SAMPLES: Final = 500
LARGEST_SAMPLE: Final = 1 << 20  # bytes


class Trials:
    """One trial a person: a newer one ends the older, so that what is shown is always of the latest text."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._latest: dict[str, int] = {}
        self._running: dict[str, Apart] = {}
        self._count = 0

    @contextmanager
    def of(self, who: str) -> Iterator[Callable[[Apart], None]]:
        """Gives what is to be told of the process. Raises Conflict where a newer trial took this one's place, TooMuch."""
        with self._lock:
            self._count += 1
            mine = self._latest[who] = self._count
            if (older := self._running.pop(who, None)) is not None:
                older.end()
        if not self._turns.acquire(timeout=WAIT):
            raise TooMuch("Others are trying things just now: type on in a moment.", 3)
        try:
            yield lambda apart: self._begun(who, mine, apart)
        except Ended as error:
            if self._latest.get(who) != mine:
                raise Conflict("You have typed on: this was of an older text.") from error
            raise Invalid(("", f"This text is ended by force: {error}. The engine would park the message as poison.")) from error
        finally:
            self._turns.release()
            with self._lock:
                if self._latest.get(who) == mine:
                    self._running.pop(who, None)
                    del self._latest[who]

    def _begun(self, who: str, mine: int, apart: Apart) -> None:
        with self._lock:
            if self._latest.get(who) == mine:
                self._running[who] = apart
                return
        apart.end()

    def close(self) -> None:
        with self._lock:
            for apart in self._running.values():
                apart.end()


def trials(home: Home) -> Trials:
    found: Trials = home.parts.setdefault("trials", Trials())
    return found


# ── what there is to try ───────────────────────────────────────────────────────────────────────────────────────────


def mapping_files(site: Path) -> dict[str, str]:
    """Mappings by name: the first line of `from:`, `hl7v2`; fragments are no mappings."""
    found: dict[str, str] = {}
    for path in sorted((site / "mappings").glob("*.yaml")):
        lines, _ = read_file(path, path.name)
        if isinstance(lines, Map) and "fragment" in lines:
            continue
        found[path.stem] = str(lines.get("from", "")).removesuffix("[*]") if isinstance(lines, Map) else ""
    return found


def texts(site: Path) -> list[str]:
    """The files of mappings/ that may be edited on the bench, from the site's directory."""
    return [f"mappings/{path.name}" for path in sorted((site / "mappings").iterdir()) if path.suffix in (".yaml", ".j2")]


def samples(site: Path) -> list[str]:
    """From samples/."""
    folder = site / "samples"
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return [path.relative_to(folder).as_posix() for path in found[:SAMPLES] if path.stat().st_size <= LARGEST_SAMPLE]
