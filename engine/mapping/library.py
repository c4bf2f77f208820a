"""All mappings of a site: read, checked and compiled once; chains and channel expressions are made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from engine.contracts import Document, Entity, Facts, Format, Product
from engine.contracts import Mapping as Chain
from engine.errors import ConfigurationError, ContentError, MappingError, PathError, Problem
from engine.mapping.cases import Case, read_cases
from engine.mapping.codes import CodeTable, read_table
from engine.mapping.compile import compile_expression
from engine.mapping.faults import Refused, RunAway, Unreadable
from engine.mapping.inline import generated, quick_all
from engine.mapping.reads import Surroundings
from engine.mapping.report import Report, Where, failure, unusable
from engine.mapping.scope import Fn, Scope
from engine.mapping.sources import EntitySource
from engine.mapping.step import Step, World, compile_step
from engine.mapping.targets import Result
from engine.mapping.watching import Watch
from engine.strictyaml import Map, Mark, Text, mark, read_file
from engine.text import did_you_mean
from engine.values import Value

MOST_OUTPUT: Final = 256 << 20  # bytes of all results of one message: two and a half times the largest message
_FRAGMENT_KEYS = ("fragment", "about", "from", "let", "set")


class Library:
    """What `mappings/` holds. `problems` are all errors and warnings of its files, sorted."""

    def __init__(
        self, directory: Path, formats: Mapping[str, Format], entities: Mapping[str, Entity], watch: Watch | None = None
    ) -> None:
        self.directory = directory
        self.formats, self.entities, self._watch = formats, entities, watch
        self.tables: dict[str, CodeTable] = {}
        self.files: list[Path] = []
        self._steps: dict[str, Step | None] = {}
        self._tests: dict[str, list[Case]] = {}
        self._report = Report()
        self._names: list[str] = []
        self._broken: set[str] = set()  # files whose YAML is wrong: compiled only to find what else is

    @classmethod
    def load(
        cls, directory: Path, formats: Mapping[str, Any], entities: Mapping[str, Entity], watch: Watch | None = None
    ) -> Library:
        """Reads `directory`/mappings. `formats` are registry declarations or built formats, by name; `watch` looks on."""
        built: dict[str, Format] = {name: kind.build() if hasattr(kind, "build") else kind for name, kind in formats.items()}
        library = cls(Path(directory), built, entities, watch)
        library._read()
        return library

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(sorted(set(self._report.problems)))

    @property
    def names(self) -> list[str]:
        """Every mapping that could be named, also those that have errors."""
        return sorted(self._names)

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> None:
        mappings = self.directory / "mappings"
        for path in sorted(mappings.glob("codes/*.csv")):
            self.files.append(path)
            table, problems = read_table(path, self._name(path))
            self._report.problems += problems
            if table:
                self.tables[table.name] = self._watch.table(table) if self._watch is not None else table
        files = [lines for path in sorted(mappings.glob("*.yaml")) if (lines := self._load(path)) is not None]
        self.files += sorted(mappings.glob("*.j2"))
        fragments = self._fragments(files)
        world = World(mappings, self.formats, self.entities, self.tables, fragments, self._watch)
        for lines in files:
            if "fragment" not in lines:
                self._compile(lines, world)
        self._report.problems += [
            Problem(self._name(path), 0, 0, "is not read: a mapping's file ends in .yaml.", "warning")
            for path in mappings.glob("*.yml")
        ]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.directory).as_posix()

    def _load(self, path: Path) -> Map | None:
        self.files.append(path)
        lines, problems = read_file(path, self._name(path))
        self._report.broken(problems)
        if problems:
            self._broken.add(self._name(path))
        if lines is None:
            self._known(path.stem)
        return lines

    def _known(self, name: str) -> None:
        """A mapping by its file's name, of which nothing else could be read."""
        self._names.append(name)
        self._steps.setdefault(name, None)

    def _fragments(self, files: Sequence[Map]) -> dict[str, Map]:
        found: dict[str, Map] = {}
        for lines in files:
            if "fragment" in lines and mark(lines).file not in self._broken:
                for key in lines:
                    if key not in _FRAGMENT_KEYS:
                        hint = did_you_mean(key, _FRAGMENT_KEYS)
                        self._report.error(key, f"'{key}' is not a key of a fragment: it has let and set.{hint}")
                found[str(lines["fragment"])] = lines
        return found

    def _compile(self, lines: Map, world: World) -> None:
        file = mark(lines).file
        name = lines.get("mapping")
        if not isinstance(name, Text) or not name:
            if file in self._broken:
                self._known(Path(file).stem)
                return
            self._report.error(lines, f"mapping is missing: its name, {Path(file).stem}.")
            return
        if str(name) in self._names:
            self._report.error(name, f"there is another mapping '{name}'.")
            return
        if name != Path(file).stem:
            self._report.warning(name, f"the file is called {Path(file).name}; name both the same, so that '{name}' is found.")
        self._names.append(str(name))
        before = len(self._report.problems)
        step = compile_step(lines, world, self._report)
        failed = file in self._broken or any(problem.severity == "error" for problem in self._report.problems[before:])
        self._steps[str(name)] = None if failed else step
        self._tests[str(name)] = read_cases(lines, self.directory, self._report)

    # ── what others ask for ────────────────────────────────────────────────────────────────────────────────────────

    def chain(self, names: Sequence[str], source_format: str | Format, at: Mark | None = None) -> Chain:
        """The mappings `names`, one after another, for content of `source_format` (`hl7v2`, `charge/v1[*]`).

        Raises ConfigurationError: unknown names (with the nearest), steps that do not fit one another, and mappings whose
        own files have errors.
        """
        steps: list[Step] = []
        source = source_format if isinstance(source_format, str) else source_format.name
        for given in names:
            name = str(given)
            place = mark(given) if isinstance(given, Text) else at or Mark("", 0, 0)
            step = self._step(name, place)
            wanted = step.source
            have = steps[-1].output.kind if steps else source.removesuffix("[*]")
            if wanted != have:
                before = f"{steps[-1].name} gives" if steps else "the channel's format is"
                raise ConfigurationError([place.problem(f"{name} reads {wanted}, and {before} {have}.")])
            steps.append(step)
        if not steps:
            raise ConfigurationError([(at or Mark("", 0, 0)).problem("a mapping's name is expected.")])
        return MappingChain(steps)

    def _step(self, name: str, place: Mark) -> Step:
        if name not in self._steps:
            hint = did_you_mean(name, self._names)
            raise ConfigurationError([place.problem(f"there is no mapping '{name}': expected mappings/{name}.yaml.{hint}")])
        step = self._steps[name]
        if step is None:
            raise ConfigurationError([place.problem(f"the mapping {name} has errors of its own.")])
        return step

    def step(self, name: str) -> Step:
        """One mapping, for tests and `wardline map`. Raises ConfigurationError."""
        return self._step(name, Mark("", 0, 0))

    def tests(self, name: str) -> list[Case]:
        """The tests that stand in the file of the mapping `name`."""
        return self._tests.get(name, [])

    def expression(self, text: Text | str, format: Format, *, condition: bool = False) -> ChannelExpression:
        """A compiled `=…` of a channel file, over content of `format`. Text without `=` is a constant.

        `condition` where only its truth is used (accept, skip, when). Raises ConfigurationError.
        """
        if not text.startswith("="):
            literal = str(text)
            return ChannelExpression(literal, lambda scope: literal)
        try:
            compiled = compile_expression(str(text[1:]), Surroundings(format, self.tables), condition=condition)
        except Unreadable as error:
            place = text.at(1 + error.at) if isinstance(text, Text) else Mark("", 0, 0)
            raise ConfigurationError([place.problem(error.text)]) from None
        return ChannelExpression(str(text), compiled.run)

    def source(self, name: str) -> Format | EntitySource:
        """What reads the content a mapping expects: a format, or a canonical entity."""
        return EntitySource(self.entities[name]) if name in self.entities else self.formats[name]


class ChannelExpression:
    """contracts.Expression."""

    __slots__ = ("_quick", "_run", "text")

    def __init__(self, text: str, run: Fn) -> None:
        self.text, self._run = text, run
        self._quick: Fn | None = None  # put together when it is first called

    def __call__(self, document: Document, facts: Facts) -> Value:
        if self._quick is None:
            self._quick = generated(self._run)
        try:
            return self._quick(Scope(document, facts, _NO_LETS))
        except Refused as fault:
            raise unusable(f"{self.text}: {fault.sentence}", fault, ContentError) from None
        except PathError as path:
            raise ContentError(f"{self.text}: {path}") from None

    def together(self, others: Sequence[ChannelExpression]) -> Callable[[Document, Facts], Sequence[Value]]:
        """The values of this and `others` at once. Raises Refused where one of them fails: they say it one by one."""
        values = quick_all([self._run, *(other._run for other in others)], _not_together)
        return lambda document, facts: values(Scope(document, facts, _NO_LETS))


_NO_LETS: list[Value] = []


def _not_together(scope: Scope) -> Sequence[Value]:
    raise Refused("cannot be worked out together")


class MappingChain:
    """contracts.Mapping."""

    __slots__ = ("name", "steps")

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)
        self.name = ", ".join(step.name for step in steps)

    def apply(self, document: Document, facts: Facts) -> list[Product]:
        first, *rest = self.steps
        results = first.apply(document, facts, 1)
        before = first
        for step in rest:
            if not results:
                return []
            inputs = [results] if step.many else [[result] for result in results]
            outcome: list[Result] = []
            for given in inputs:
                outcome += step.apply(before.output.document(given, many=step.many), facts, len(outcome) + 1)
            results, before = outcome, step
        products: list[Product] = []
        size = 0
        try:
            for result in results:
                products.append(before.output.product(result, facts))
                size += len(products[-1].content)
                if size > MOST_OUTPUT:
                    where = Where(before.name, "result", before.where.text)
                    raise failure(where, RunAway(f"the results of one message are more than {MOST_OUTPUT >> 20} MiB together"))
            return products
        except ContentError as error:
            if isinstance(error, MappingError):
                raise
            raise MappingError(f"{before.name} {error}") from None
