"""Options: from a place in a YAML file to a validated declaration, and from its errors back to the place.

Declarations are pydantic models (`registry.Options`). All their errors are told at once, in our words; tags that unions put
into an error's location are dropped; unknown keys get a "did you mean".
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from engine.config.environment import SECRET, SECRET_FORMS, UNSET, Environment, NotHere
from engine.config.report import Report
from engine.config.words import WRONG_TYPE, problem_text
from engine.registry import Options
from engine.strictyaml import Map, Mark, Seq, Text, mark
from engine.text import did_you_mean, listed, nearest

O = TypeVar("O", bound=Options)  # noqa: E741
Path = tuple[str | int, ...]

_UNIONS = (Union, types.UnionType)
_REPLACED_IN = "variables (${…}) and secrets are only replaced in connector options."


def validate(model: type[O], value: Any, report: Report, environment: Environment | None = None) -> O | None:
    """The options that `value` (a Map, or empty Text for none) describes; None when its problems have been noted.

    Variables and secrets are replaced where an `environment` is given, and refused elsewhere.
    """
    given = value if isinstance(value, Map) or value != "" else Map()
    if not isinstance(given, Map):
        report.error(value, f"expected options ({listed(_names([model]), 'or')}), one a line, not '{_short(value)}'.")
        return None
    conversion = _Conversion(report, environment)
    plain = conversion.plain(given, [model])
    if conversion.failed:
        return None
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        _Errors(model, given, mark(value), report, conversion.secrets).tell(error)
        return None


def known_keys(model: type[BaseModel]) -> list[str]:
    """The keys of a declaration as files have them."""
    return [field.alias or name for name, field in model.model_fields.items()]


class _Conversion:
    """Text, Map and Seq to `str`, `dict` and `list`, with variables and secrets replaced."""

    def __init__(self, report: Report, environment: Environment | None) -> None:
        self.report, self.environment = report, environment
        self.failed = False
        self.secrets: set[Path] = set()

    def plain(self, value: Any, kinds: list[Any], path: Path = ()) -> Any:
        if isinstance(value, Map):
            return {str(key): self.plain(item, list(_step(kinds, key)), (*path, str(key))) for key, item in value.items()}
        if isinstance(value, Seq):
            return [self.plain(item, list(_step(kinds, n)), (*path, n)) for n, item in enumerate(value)]
        return self._text(value, _secrecy(kinds), path)

    def _text(self, text: Text, secrecy: str, path: Path) -> str:
        if self.environment is None:
            if "${" in text or text.startswith(SECRET):
                self._refuse(text, _REPLACED_IN)
            return str(text)
        if text.startswith(SECRET):
            return self._secret(text, secrecy, path)
        if secrecy == "required" and text:
            self._refuse(text, f"a secret does not stand in a file. Write {SECRET_FORMS}.")
            return ""

        def complain(offset: int, problem: str) -> None:
            self._refuse(text.at(offset), problem)

        return self.environment.expand(text, complain)

    def _secret(self, text: Text, secrecy: str, path: Path) -> str:
        assert self.environment is not None
        if not secrecy:
            self._refuse(text, "this option is no secret and would be shown. Write its value here.")
            return ""
        try:
            value = self.environment.secret(text)
        except NotHere as error:
            if not self.environment.elsewhere:
                self._refuse(text, str(error))
                return ""
            self.report.warning(text, str(error))
            self.secrets.add(path)
            return UNSET
        except ValueError as error:
            self._refuse(text, str(error))
            return ""
        self.secrets.add(path)
        self.report.hide(value)
        return value

    def _refuse(self, at: Any, text: str) -> None:
        self.failed = True
        self.report.error(at, text)


class _Errors:
    """A ValidationError, told in a file's terms."""

    def __init__(self, model: type[Options], value: Map, place: Mark, report: Report, secrets: Iterable[Path]) -> None:
        self.model, self.value, self.place, self.report = model, value, place, report
        self.secrets = tuple(secrets)

    def tell(self, error: ValidationError) -> None:
        details = self._deepest(error.errors(include_url=False))
        misspelt = {self._meant(detail) for detail in details if detail["type"] == "extra_forbidden"}
        told: set[Mark] = set()
        for detail in sorted(details, key=lambda detail: detail["type"] == "missing"):
            path, at, rest = self._locate(detail["loc"])
            if detail["type"] == "missing" and ((path, rest) in misspelt or not rest):
                continue
            place = mark(at) if at is not self.place else self.place
            if detail["type"] not in ("missing", "extra_forbidden") and path and rest != "[key]":
                place = mark(self._value(path))
            if place not in told or detail["type"] == "missing":
                self.report.error(place, self._text(detail, path, rest, details))
            told.add(place)

    def _deepest(self, details: list[ErrorDetails]) -> list[ErrorDetails]:
        """Of the forms a value may have, only what is wrong with the one that fits best: the one that was read deepest."""
        paths = [self._locate(detail["loc"])[0] for detail in details]
        return [
            detail
            for detail, path in zip(details, paths, strict=True)
            if detail["type"] not in WRONG_TYPE
            or not any(len(path) < len(other) and path == other[: len(path)] for other in paths)
        ]

    def _locate(self, location: tuple[int | str, ...]) -> tuple[Path, Any, str]:
        """The data path, its key (an item itself; the options' place), and the last part that the data does not have."""
        path: Path = ()
        value: Any = self.value
        at: Any = self.place
        rest = ""
        for part in location:
            if isinstance(value, Map) and isinstance(part, str) and part in value:
                at, value = value.key(part), value[part]
            elif isinstance(value, Seq) and isinstance(part, int) and part < len(value):
                at = value = value[part]
            else:
                rest = str(part)
                continue
            path, rest = (*path, part), ""
        return path, at, rest

    def _value(self, path: Path) -> Any:
        value: Any = self.value
        for part in path:
            value = value[part]  # a key of a Map or an index of a Seq
        return value

    def _fields(self, path: Path) -> list[str]:
        kinds: list[Any] = [self.model]
        for part in path:
            kinds = list(_step(kinds, part))
        return _names(kinds)

    def _meant(self, detail: ErrorDetails) -> tuple[Path, str]:
        path, _, _ = self._locate(detail["loc"])
        return path[:-1], nearest(str(path[-1]) if path else "", self._fields(path[:-1]))

    def _text(self, detail: ErrorDetails, path: Path, rest: str, details: list[ErrorDetails]) -> str:
        name = str(path[-1]) if path else ""
        if detail["type"] == "extra_forbidden":
            known = self._fields(path[:-1])
            return f"unknown key '{name}'.{did_you_mean(name, known) or f' Known here: {listed(known)}.'}"
        if detail["type"] == "missing":
            return f"'{rest}' is missing here."
        if any(path[: len(secret)] == secret for secret in self.secrets):
            return f"'{name}' cannot take the value that this secret refers to."
        value = self._value(path)
        if isinstance(value, Text) and value.startswith(SECRET):
            return f"'{name}' cannot take a secret."
        if rest == "[key]":
            return problem_text([detail], "", value)
        if path and isinstance(path[-1], int):
            name = f"{path[-2] if len(path) > 1 else ''}[{path[-1] + 1}]"
        return problem_text([one for one in details if self._locate(one["loc"])[0] == path], name, value)


def _short(value: Any) -> str:
    return "a list" if isinstance(value, Seq) else str(value)[:40]


def _members(kind: Any) -> Iterator[tuple[Any, str]]:
    """The types that an annotation may stand for, each with what it says about secrets: `required`, `allowed` or ''."""
    if isinstance(kind, FieldInfo):
        for member, secrecy in _members(kind.annotation):
            yield member, _marked(kind) or secrecy
        return
    origin = get_origin(kind)
    if origin is Annotated:
        noted = "".join({_marked(note) for note in get_args(kind)[1:]})
        for member, secrecy in _members(get_args(kind)[0]):
            yield member, noted or secrecy
    elif origin in _UNIONS:
        for argument in get_args(kind):
            yield from _members(argument)
    else:
        yield kind, "allowed" if isinstance(kind, type) and issubclass(kind, SecretStr) else ""


def _marked(note: Any) -> str:
    extra = getattr(note, "json_schema_extra", None)
    secret = extra.get("secret") if isinstance(extra, dict) else None
    return "required" if secret is True else str(secret or "")


def _step(kinds: list[Any], key: str | int) -> Iterator[Any]:
    """What may stand under `key` of any of these."""
    for kind in kinds:
        for member, _ in _members(kind):
            if isinstance(member, type) and issubclass(member, BaseModel):
                for name, field in member.model_fields.items():
                    if key in (name, field.alias):
                        yield field
            else:
                arguments = get_args(member)
                yield from arguments[-1:] if isinstance(key, str) else arguments[:1]


def _names(kinds: list[Any]) -> list[str]:
    names: dict[str, None] = {}
    for kind in kinds:
        for member, _ in _members(kind):
            if isinstance(member, type) and issubclass(member, BaseModel):
                names |= dict.fromkeys(known_keys(member))
    return list(names)


def _secrecy(kinds: list[Any]) -> str:
    """`required` where only a secret may stand, `allowed` where it may, '' where it may not."""
    said = {secrecy for kind in kinds for member, secrecy in _members(kind) if member is not type(None)}
    return "".join(said) if len(said) == 1 else "allowed" if said else ""
