"""What an environment puts into connector options: variables (`${NAME:-default}`) and secrets (`secret://env/NAME`)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

SECRET = "secret://"  # noqa: S105 - how a reference begins
SECRET_FORMS = "secret://env/NAME or secret://file/run/secrets/name"  # noqa: S105 - says how to write one

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_LIMIT = 64 * 1024  # bytes of a secret


UNSET = "unset"  # stands for a secret that is not here, where that is no fault


class NotHere(ValueError):
    """A secret's reference is well written, but this machine does not have what it refers to."""


class Environment:
    """The variables of the process, and the files that secrets are in.

    `elsewhere`: the site is only looked at here and runs somewhere else, so that a secret this machine does not have is
    worth a warning and no more.
    """

    def __init__(self, variables: Mapping[str, str], *, elsewhere: bool = False) -> None:
        self._variables = variables
        self.elsewhere = elsewhere

    def expand(self, text: str, complain: Callable[[int, str], None]) -> str:
        """`text` with its variables replaced, once (values are not searched again). `complain(offset, text)` is told of
        each that cannot be; an empty variable counts as unset, as in the shell."""
        for start in re.finditer(r"\$\{", text):
            if not _VARIABLE.match(text, start.start()):
                complain(start.start(), "a variable is written ${NAME} or ${NAME:-default}.")

        def value(found: re.Match[str]) -> str:
            name, default = found["name"], found["default"]
            known = self._variables.get(name, "")
            if not known and default is None:
                complain(found.start(), f"the environment has no {name}. Set it, or give a default: ${{{name}:-…}}.")
            return known or default or ""

        return _VARIABLE.sub(value, text)

    def secret(self, reference: str) -> str:
        """What a reference stands for. Raises ValueError (NotHere, where only the value is missing), never naming it."""
        kind, _, name = reference.removeprefix(SECRET).partition("/")
        if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            if not (value := self._variables.get(name, "")):
                raise NotHere(f"the environment has no {name}, which this secret refers to.")
            return value
        if kind == "file" and name:
            return _secret_file(Path("/") / name)
        raise ValueError(f"'{reference}' is no secret reference: write {SECRET_FORMS}.")


def _secret_file(path: Path) -> str:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
        with os.fdopen(number, "rb") as stream:
            mode = os.fstat(number).st_mode  # of what is read, whatever the name means by now
            content = stream.read(_LIMIT + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise NotHere(f"the secret's file {path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"the secret's file {path} is no regular file.")
    if mode & stat.S_IWOTH:
        raise ValueError(f"everybody may write the secret's file {path}. Take that right away: chmod o-w {path}")
    if len(content) > _LIMIT:
        raise ValueError(f"the secret's file {path} is larger than 64 KiB.")
    try:
        value = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the secret's file {path} is not UTF-8 text.") from None
    if not value:
        raise ValueError(f"the secret's file {path} is empty.")
    return value
