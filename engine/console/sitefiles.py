"""The site's files as people are shown them: read only, without what could be a secret, and what differs between versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.operations.versions import DIRECTORY, UNDONE, Versions
from engine.strictyaml import Map, Seq, Text, read_file

FOLDERS: Final = ("conf", "channels", "mappings", "mappings/codes")
SUFFIXES: Final = (".yaml", ".j2", ".csv")
LARGEST: Final = 4 << 20  # bytes of a file that is shown
NOW: Final = "now"  # the files as they are

_USER: Final = re.compile(r"(?<=://)[^/\s@'\"]*@")
_NAMES: Final = r"password|passphrase|passwd|secret|token|bearer|basic|api[-_]?key|private[-_]?key|authorization|credential"
_SECRET: Final = re.compile(
    rf"(?i)(\b[\w-]{{0,40}}?(?:{_NAMES})s?['\"]?[ \t]*+:[ \t]*+)"  # the key
    r"(?!//|=|['\"]?(?:secret://|\$\{)|[{\[&*|>#\n]|$)"  # an expression, a reference, or no value on this line
    r"(\"[^\"\n]*\"|'[^'\n]*'|[^,}\]#\n]+)"
)


def shown(name: str, text: str) -> str:
    """A file's text. Files of conf/ and channels/ hold references to secrets; where somebody wrote a secret itself, it is
    not shown."""
    if not name.startswith(("conf/", "channels/")):
        return text
    return _SECRET.sub(r"\1***", _USER.sub("***@", text))


def names_in(directory: Path) -> list[str]:
    """Files of a site or of a kept version, from its directory."""
    found = []
    for folder in FOLDERS:
        for path in sorted((directory / folder).glob("*")):
            if path.suffix in SUFFIXES and path.is_file() and not path.name.startswith("."):
                found.append(f"{folder}/{path.name}")
    return found


class Outline(NamedTuple):
    """A channel file, as far as it can be read where the site has errors; each route with its mappings and where it goes."""

    name: str
    about: str
    owner: str
    source: str
    routes: tuple[tuple[str, tuple[str, ...], str], ...]


def outline(directory: Path, name: str) -> Outline:
    lines, _ = read_file(directory / name, name)
    file = lines if isinstance(lines, Map) else Map()
    routes = file.get("routes")
    found = [
        (str(route), _several(about.get("mapping")), _key(about.get("to")))
        for route, about in (routes.items() if isinstance(routes, Map) else ())
        if isinstance(about, Map)
    ]
    about, owner = _several(file.get("about")), _several(file.get("owner"))
    return Outline(Path(name).stem, " ".join(about), " ".join(owner), _key(file.get("source")), tuple(found))


def _several(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, Seq) else (str(value),) if isinstance(value, Text) and value else ()


def _key(value: Any) -> str:
    return str(value) if isinstance(value, Text) else str(next(iter(value), "")) if isinstance(value, Map) else ""


def text_of(directory: Path, name: str) -> str:
    """Raises OSError; what is too large is cut."""
    with (directory / name).open("rb") as file:
        content = file.read(LARGEST + 1)
    text = content[:LARGEST].decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return shown(name, text) + ("\n… the rest is not shown here\n" if len(content) > LARGEST else "")


def version_directory(site: Path, version: str) -> Path | None:
    """Where the files of a version are: of the site itself for `now`. None for one that is not kept."""
    if version == NOW:
        return site
    if version != UNDONE and version not in {entry.version for entry in Versions(site).entries()}:
        return None
    kept = site / DIRECTORY / version
    return kept if kept.is_dir() else None


def texts_of(directory: Path) -> dict[str, str]:
    found = {}
    for name in names_in(directory):
        with suppress(OSError):
            found[name] = text_of(directory, name)
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """(file, `changed`, `added` or `gone`, the lines of a unified diff without its head) of each file that is not the same."""
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        change = "added" if was is None else "gone" if now is None else "changed"
        lines = list(unified_diff((was or "").splitlines(), (now or "").splitlines(), lineterm="", n=3))[2:]
        yield name, change, lines
