"""The mapping language as a site uses it: its mappings and code tables, and the expressions of channel files."""

from __future__ import annotations

from pathlib import Path

from engine.config.report import Report
from engine.contracts import Expression, Format, Mapping
from engine.errors import ConfigurationError
from engine.mapping import Library
from engine.registry import entities, formats
from engine.strictyaml import Mark, Text


class Language:
    """The site's mappings, compiled; what is wrong with them is in the report, and their files in its version."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._library = Library.load(report.directory, formats(), entities())
        report.take(self._library.problems)
        for path in self._library.files:
            report.remember(path)
        self.mappings = {name: Mark(_file(name), 0, 0) for name in self._library.names}
        self.tables = len(self._library.tables)
        self._wrong = {problem.file for problem in self._library.problems if problem.severity == "error"}

    def expression(self, text: Text, format_: Format, condition: bool = False) -> Expression | None:
        """A compiled `=…` (`condition`: only its truth is used), or None when its problem has been noted."""
        try:
            return self._library.expression(text, format_, condition=condition)
        except ConfigurationError as error:
            self._report.take(error.problems)
            return None

    def chain(self, names: list[Text], format_: Format) -> Mapping | None:
        """Mappings one after another, or None when it has been noted why not."""
        unknown = [name for name in names if name not in self.mappings]
        for name in unknown:
            self._try([name], format_)
        if unknown or any(_file(name) in self._wrong for name in names):
            return None
        return self._try(names, format_)

    def _try(self, names: list[Text], format_: Format) -> Mapping | None:
        try:
            return self._library.chain(names, format_)
        except ConfigurationError as error:
            self._report.take(error.problems)
            return None


def _file(name: str) -> str:
    return Path("mappings", f"{name}.yaml").as_posix()
