"""The doors of the console: one function each, for a page and for the API alike.

A door is declared once: method and path, the right that it takes and on what (`Scope`), what it is called in the audit trail,
the template of its page, its address in the API. From the declaration come the routes, the checks before the handler runs
(deny by default), the audit row, CSRF, the form or JSON read into the handler's model, the answer as page or JSON, OpenAPI,
and the tests' matrix of roles, routes and channels.

    class SearchAsked(Asked):
        q: str = ""

    @door("GET", "/messages", Right.SEE, Scope.SOME, "search", page="messages.html", api="/messages")
    def messages(visit: Visit, asked: SearchAsked) -> Found:
        '''Messages that match, newest first.'''

Handlers are synchronous and run in worker threads. They return a model (pydantic, or a type that pydantic knows), or one of
`engine.console.answers`; they raise a Refusal. Whatever else they raise is a fault of ours: 500, without its text.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, get_type_hints

from engine.console.models import Asked
from engine.console.rights import Right

API: Final = "/api/v1"
BODY: Final = 64 << 10  # bytes of a request's body, where a door does not say otherwise

F = TypeVar("F", bound=Callable[..., Any])


class Scope(StrEnum):
    """On what a door's right is asked."""

    PUBLIC = "public"  # nobody has to be logged in
    OWN = "own"  # whoever is logged in, about themselves
    SITE = "site"  # the right on every channel, whatever its name
    SOME = "some"  # the right on any channel: the handler shows only what `visit.channels(right)` allows
    CHANNEL = "channel"  # the right on the channel that the path names as {channel}
    MESSAGE = "message"  # the right on the channel of the message that the path names as {id}
    DESTINATION = "destination"  # the right on every channel that delivers to the {destination} of the path


@dataclass(frozen=True, slots=True)
class Door:
    method: str  # GET or POST; a GET changes nothing
    path: str  # of the page: `/messages/{id}`; '': the API only
    right: Right | None  # None where the scope is PUBLIC or OWN
    scope: Scope
    verb: str  # what the audit trail calls it: `search`, `view message`; '' for what is not worth a row (health, static)
    handler: Callable[..., Any]
    asked: type[Asked]
    answer: Any  # the handler's return annotation, for the API's schema
    page: str  # template; '': no page of its own (an action that goes somewhere else, a stream, a download)
    fragment: str  # template of the part that htmx asks for; '': the whole page
    api: str  # path below /api/v1; '': no API
    body: int  # most bytes of a request's body
    status: int  # of the API's answer

    @property
    def summary(self) -> str:
        """The first paragraph of what its handler says of itself."""
        return " ".join((inspect.getdoc(self.handler) or "").partition("\n\n")[0].split())

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path or self.api)


_DOORS: Final[list[Door]] = []


def door(
    method: str,
    path: str,
    right: Right | None,
    scope: Scope,
    verb: str,
    *,
    page: str = "",
    fragment: str = "",
    api: str = "",
    body: int = BODY,
    status: int = 200,
) -> Callable[[F], F]:
    """Declare a handler `(visit, asked: Asked subclass) -> answer` as a door."""
    if (right is None) != (scope in (Scope.PUBLIC, Scope.OWN)):
        raise ValueError(f"{method} {path}: a door has a right, or is PUBLIC or OWN")
    if method not in ("GET", "POST"):
        raise ValueError(f"{method} {path}: a door is opened by GET or POST")

    def declare(handler: F) -> F:
        hints = get_type_hints(handler, include_extras=True)
        asked = hints[list(inspect.signature(handler).parameters)[1]]
        _DOORS.append(
            Door(method, path, right, scope, verb, handler, asked, hints.get("return"), page, fragment, api, body, status)
        )
        return handler

    return declare


def doors() -> list[Door]:
    """Every door of every module in `engine.console.pages`."""
    from engine.console import pages

    for module in pkgutil.iter_modules(pages.__path__, f"{pages.__name__}."):
        importlib.import_module(module.name)
    return list(_DOORS)
