"""What reading a site gives besides the site: every problem found, and the bytes that went into it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import Problem
from engine.ids import version_of
from engine.strictyaml import Map, Mark, mark, read_bytes, read_file

LARGEST = 64 << 20  # bytes of a file: a code table's


class Report:
    """Collects problems, so that one reading shows all of them. Secrets told to it are masked in every text."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[Problem] = []
        self.files: dict[str, bytes] = {}
        self.lines: dict[str, list[str]] = {}
        self._secrets: set[str] = set()
        self._broken: set[tuple[str, int]] = set()  # lines that YAML itself reads in another way than they were meant

    def hide(self, secret: str) -> None:
        """No text of this report may show `secret`."""
        if secret:
            self._secrets.add(secret)

    def error(self, at: Any, text: str) -> None:
        """`at` is a value of a file, or a Mark."""
        self._say(at, text, "error")

    def warning(self, at: Any, text: str) -> None:
        self._say(at, text, "warning")

    def take(self, problems: Iterable[Problem]) -> None:
        self.problems.extend(problem for problem in problems if (problem.file, problem.line) not in self._broken)

    def _say(self, at: Any, text: str, severity: str) -> None:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        place = at if isinstance(at, Mark) else mark(at)
        if (place.file, place.line) not in self._broken:
            self.problems.append(place.problem(text, severity))

    def name(self, path: Path) -> str:
        """How errors name a file: from the site's directory, with slashes."""
        try:
            return path.relative_to(self.directory).as_posix()
        except ValueError:
            return str(path)

    def load(self, path: Path) -> Map | None:
        """A YAML file, or as much of it as could be read, so that its other problems are told too; None where nothing could."""
        file, problems = read_file(path, self.name(path))
        self.take(problems)
        self._broken |= {(problem.file, problem.line) for problem in problems}
        return file

    def remember(self, path: Path) -> None:
        """Make the file's bytes part of the site's version."""
        try:
            self.files[self.name(path)] = read_bytes(path, LARGEST)
        except OSError as error:
            self.take([Problem(self.name(path), 0, 0, f"cannot be read: {error.strerror}.")])

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def sorted(self) -> list[Problem]:
        """By file and place; the same problem is told once."""
        return sorted(set(self.problems))

    def version(self) -> str:
        return version_of(self.files)
