"""A channel file, compiled: its source, format, conditions and routes; every problem of the file at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.config.cases import ChannelTest, channel_tests
from engine.config.destinations import Connection, connection, destination
from engine.config.environment import Environment
from engine.config.files import NAME, ChannelFile
from engine.config.files import Retention as RetentionFile
from engine.config.language import Language
from engine.config.options import validate
from engine.config.release import is_handover, refuse_unavailable
from engine.config.report import Report
from engine.contracts import AckPolicy, Channel, DestinationSpec, Expression, Format, Mapping, Retention, Route
from engine.registry import FormatKind, Options, SiteFile, formats
from engine.strictyaml import Map, Seq, Text
from engine.text import did_you_mean, listed

UNIQUE_BY = {"hl7v2": ("=MSH-3", "=MSH-4", "=MSH-10")}
"""What tells a re-send where a channel does not say: the sender and its control id (GUARANTEES, duplicates)."""


@dataclass(slots=True)
class ChannelReading:
    """What reading one channel file gave: a channel where all was well, and what lint wants to see in any case."""

    file: Map
    name: str
    channel: Channel | None = None
    source: Connection | None = None
    inline: list[DestinationSpec] = field(default_factory=list)
    destinations: set[str] = field(default_factory=set)  # named ones that are used
    mappings: set[str] = field(default_factory=set)
    tests: list[ChannelTest] = field(default_factory=list)


class ChannelReader:
    """Reads channel files of one site; `known` are its destinations by name."""

    def __init__(self, report: Report, environment: Environment, language: Language, known: list[str] | None) -> None:
        self.report, self.environment, self.language = report, environment, language
        self.known = known  # None: the destinations could not be read, so none is called unknown

    def read(self, file: Map, stem: str) -> ChannelReading:
        reading = ChannelReading(file, str(file.get("channel", stem)))
        before = len(self.report.problems)
        self._named(file, stem)
        plain = refuse_unavailable(file, self.report)
        settings = validate(ChannelFile, _outline(plain), self.report)
        source, format_ = plain.get("source"), plain.get("format")
        if source is not None:
            reading.source = connection(source, "source", self.report, self.environment)
        built = self._format(format_) if format_ is not None else None
        parts = self._expressions(plain, built) if built else {}
        routes = self._routes(plain.get("routes"), built, reading)
        answers_to = self._answers_to(plain.get("ack"), built, reading)
        names = [route.name for route in routes]
        ack = answer_policy(settings, plain, built, names, self) if settings is not None and built is not None else None
        reading.tests = channel_tests(plain.get("tests"), [route.name for route in routes], self.report)
        if any(problem.severity == "error" for problem in self.report.problems[before:]):
            return reading
        assert settings is not None
        assert built is not None
        assert reading.source is not None
        reading.channel = Channel(
            name=settings.channel, about=settings.about, connector=str(reading.source.connector),
            options=reading.source.options, format=built, routes=tuple(routes), ack=ack, answers_to=answers_to,
            owner=settings.owner, criticality=settings.criticality, sensitivity=settings.sensitivity,
            unique_within=settings.unique_within, deliver_within=settings.sla.deliver_within if settings.sla else 0.0,
            retention=retained(settings.retention) if settings.retention else None, **parts,
        )  # fmt: skip
        return reading

    def _named(self, file: Map, stem: str) -> None:
        name = file.get("channel")
        if isinstance(name, Text) and NAME.fullmatch(name) and name != stem:
            self.report.error(name, f"the channel is called '{name}' and its file {stem}.yaml. Give both the same name.")

    def _format(self, value: Any) -> Format | None:
        """The format, named or with its options; None also where the outline says what is wrong."""
        if not isinstance(value, (Text, Map)) or value == "":
            return None
        name, options = (value, Text.made("")) if isinstance(value, Text) else _only(value)
        if name is None:
            names = listed(formats(), "or")
            self.report.error(value, f"expected a format's name ({names}), or one key with its options below it.")
            return None
        kind: FormatKind | None = formats().get(str(name))
        if kind is None:
            near, expected = did_you_mean(name, formats()), f" Expected {listed(formats(), 'or')}."
            self.report.error(name, f"there is no format '{name}'.{near or expected}")
            return None
        settings = validate(kind.options, options, self.report)
        if settings is None:
            return None
        files: dict[str, Options] = {}
        for key, declared in kind.files.items():
            if isinstance(options, Map) and options.get(key):
                if (held := site_file(options[key], declared, self.report)) is None:
                    return None
                files[key] = held
        return kind.build(settings, **files)

    def expression(self, value: Any, format_: Format) -> Expression | None:
        """A compiled `=…` of this file, or None where its problem has been noted."""
        return self._expression(value, format_)

    def _answers_to(self, ack: Any, format_: Format | None, reading: ChannelReading) -> str:
        """The destination of application acknowledgements, '' for none."""
        application = ack.get("application") if isinstance(ack, Map) else None
        to = application.get("to") if isinstance(application, Map) else None
        if not isinstance(to, Text):
            return ""  # the outline has said what was expected
        if format_ is not None and not hasattr(format_, "answer"):
            self.report.error(ack.key("application"), f"format {format_.name} has no application acknowledgements.")
        return self._target(to, to, reading)

    def _expressions(self, file: Map, format_: Format) -> dict[str, Any]:
        """Everything in the file that begins with `=`, compiled, by the names `contracts.Channel` has for it."""
        parts: dict[str, Any] = {}
        for key in ("accept", "order_by", "unique_by"):
            parts[key] = tuple(self._all(_several(file.get(key)), format_, key == "accept"))
        for key in ("skip", "index"):
            parts[key] = tuple(self._pairs(file.get(key), format_, key == "skip"))
        parts["picks"] = next(iter(self._all(_several(file.get("picks")), format_, True)), None)
        if "unique_by" not in file:
            parts["unique_by"] = tuple(self._all([Text.made(text) for text in UNIQUE_BY.get(format_.name, ())], format_))
        return parts

    def _all(self, values: list[Any], format_: Format, condition: bool = False) -> list[Expression]:
        compiled = [self._expression(value, format_, condition) for value in values]
        return [expression for expression in compiled if expression is not None]

    def _pairs(self, value: Any, format_: Format, condition: bool) -> list[tuple[str, Expression]]:
        pairs = value.items() if isinstance(value, Map) else ()
        compiled = [(str(name), self._expression(item, format_, condition)) for name, item in pairs]
        return [(name, expression) for name, expression in compiled if expression is not None]

    def _expression(self, value: Any, format_: Format, condition: bool = False) -> Expression | None:
        if not isinstance(value, Text):
            return None  # the outline has said what was expected
        if not value.startswith("="):
            meant = f"Did you mean '={value}'?" if value else "Write '=' and an expression."
            self.report.error(value, f"expected an expression, which begins with '='. {meant}")
            return None
        return self.language.expression(value, format_, condition)

    def _routes(self, value: Any, format_: Format | None, reading: ChannelReading) -> list[Route]:
        routes: list[Route] = []
        for name, given in value.items() if isinstance(value, Map) else ():
            if not isinstance(given, Map):
                continue
            target = self._target(name, given.get("to"), reading)
            mapping = self._mapping(given.get("mapping"), format_, reading)
            when = given.get("when")
            condition = self._expression(when, format_, True) if when is not None and format_ else None
            after = [one for one in _several(given.get("after")) if isinstance(one, Text)]
            above = [route.name for route in routes]
            for one in after:
                if one not in above:
                    near = did_you_mean(one, above)
                    self.report.error(
                        one, f"there is no route '{one}' above this one.{near or ' A route waits for those before it.'}"
                    )
            routes.append(Route(str(name), target, mapping, condition, tuple(map(str, after))))
        return routes

    def _target(self, route: Text, value: Any, reading: ChannelReading) -> str:
        """The name of the destination a route goes to; an inline one becomes the site's, named after the route."""
        if isinstance(value, Map):
            name = f"{reading.name}.{route}"
            if is_handover(value, self.report):
                return name
            if spec := destination(name, value, self.report, self.environment):
                reading.inline.append(spec)
            return name
        if isinstance(value, Text) and value:
            reading.destinations.add(str(value))
            if self.known is not None and value not in self.known:
                near = did_you_mean(value, self.known)
                choices = f" Known: {listed(self.known)}." if self.known else " conf/destinations.yaml names none."
                self.report.error(value, f"there is no destination '{value}'.{near or choices}")
        return str(value or "")

    def _mapping(self, value: Any, format_: Format | None, reading: ChannelReading) -> Mapping | None:
        names = [name for name in _several(value) if isinstance(name, Text)]
        reading.mappings.update(map(str, names))
        return self.language.chain(names, format_) if names and format_ is not None else None


def site_file(name: Text, kind: SiteFile, report: Report) -> Options | None:
    """What `FOLDER/NAME.yaml` holds; None where it has been noted what is wrong."""
    path = report.directory / kind.folder / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.is_file():
        near = did_you_mean(name, [each.stem for each in path.parent.glob("*.yaml")])
        report.error(name, f"there is no file {kind.folder}/{name[:64]}.yaml.{near}")
        return None
    report.remember(path)
    file = report.load(path)
    return validate(kind.load(), file, report) if file is not None else None


def retained(file: RetentionFile) -> Retention:
    return Retention(file.content, file.everything)


def answer_policy(
    settings: ChannelFile, file: Map, format_: Format, routes: list[str], reader: ChannelReader
) -> AckPolicy | None:
    """What `ack` and `reply` say of an answer that waits; None where it does not."""
    ack, reply = settings.ack, settings.reply
    if reply is not None:
        given = file["reply"]
        _known_route(given["from"], routes, reader.report)
        pairs = given.get("set", Map())
        wanted = {"MSA-2": Text.made("=MSH-10"), **pairs} if format_.name == "hl7v2" else dict(pairs)
        changes = [(str(path), reader.expression(value, format_)) for path, value in wanted.items()]
        changed = tuple((path, expression) for path, expression in changes if expression is not None)
        return AckPolicy((reply.source,), reply.within, reply_from=reply.source, reply_set=changed)
    if ack == "processed":
        return AckPolicy()
    if isinstance(ack, str) or not ack.processed:
        return None
    for name in _several(file["ack"]["processed"]):
        _known_route(name, routes, reader.report)
    named = (ack.processed,) if isinstance(ack.processed, str) else tuple(ack.processed)
    return AckPolicy(named, ack.wait, ack.on_timeout == "AA")


def _known_route(name: Any, routes: list[str], report: Report) -> None:
    if isinstance(name, Text) and name not in routes:
        report.error(name, f"there is no route '{name}' in this channel.{did_you_mean(name, routes)}")


def _several(value: Any) -> list[Any]:
    """One or a list, as a list."""
    return [] if value is None or value == "" else list(value) if isinstance(value, Seq) else [value]


def _only(value: Any) -> tuple[Text | None, Any]:
    return next(iter(value.items())) if isinstance(value, Map) and len(value) == 1 else (None, None)


def _outline(file: Map) -> Map:
    """The file without what other declarations validate: options of connectors and formats, and expressions' text."""
    outline = _like(file, file)
    for key, value in file.items():
        if key == "source" or (key == "format" and isinstance(value, Map)):
            outline[key] = Map()
        elif key in ("accept", "order_by", "unique_by", "picks") and value != "":
            outline[key] = _like_seq(value) if isinstance(value, Seq) else _masked(value)
        elif key in ("skip", "index") and isinstance(value, Map):
            outline[key] = _like(value, {name: _masked(item) for name, item in value.items()})
        elif key == "routes" and isinstance(value, Map):
            outline[key] = _like(value, {name: _outline_route(route) for name, route in value.items()})
    return outline


def _outline_route(route: Any) -> Any:
    if not isinstance(route, Map):
        return route
    outline = _like(route, route)
    for key, value in route.items():
        if key == "to" and isinstance(value, Map):
            outline[key] = Map()
        elif key == "when":
            outline[key] = _masked(value)
    return outline


def _like(place: Map, items: Any) -> Map:
    made = place.copy()
    made.update(items)
    return made


def _like_seq(value: Seq) -> Seq:
    made = Seq(_masked(item) for item in value)
    made.mark, made.flow = value.mark, value.flow
    return made


def _masked(value: Any) -> Any:
    """An expression as the outline has it: only that it is there, since compiling it says more."""
    return Text.made("=") if isinstance(value, Text) else value
