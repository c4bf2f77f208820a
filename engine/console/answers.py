"""What a door answers with, besides its model: somewhere else to go, a file, a stream, or no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from engine.errors import EXIT_USAGE, WardlineError

if TYPE_CHECKING:
    from engine.console.live import Feed


Model = TypeVar("Model", default=None)


@dataclass(frozen=True, slots=True)
class Done(Generic[Model]):
    """Something was done: a browser goes to `to`, with `note` shown once there; the API answers with `model`, of which a
    door's annotation says what it is: `Done[JobTold]`."""

    to: str  # a path of ours
    note: str = ""
    model: Any = None
    status: int = 200  # of the API's answer: 201 where something was made, 202 where it goes on
    session: str | None = None  # the session's secret to set; '' takes it away; None leaves it


@dataclass(frozen=True, slots=True)
class Download:
    """A file. Its content is never shown by the browser, whatever it is."""

    name: str  # proposed; made safe
    content_type: str
    chunks: Iterable[bytes]  # made while they are sent


@dataclass(frozen=True, slots=True)
class Live:
    """Server-sent events: `render(snapshot, visit)` for every new snapshot of `feed`, as the data of one event; None: nothing
    new for this person. It is called in a thread."""

    feed: Feed
    render: Callable[[Any, Any], str | None]


@dataclass(frozen=True, slots=True)
class Shown:
    """Another template than the door's own, or another status: a form with its problems, for example."""

    model: Any
    template: str = ""  # '': the door's own
    status: int = 200
    session: str | None = None  # as of `Done`


class Refusal(WardlineError):
    """A door says no. The text is for the person; `status` is HTTP's."""

    exit_code = EXIT_USAGE
    status = 400
    title = "This cannot be done"


class Invalid(Refusal):
    """What was asked cannot be understood: `problems` are (field, what is wrong)."""

    status = 422
    title = "Something in this is wrong"

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" if name else text for name, text in problems))
        self.problems = problems


class NotFound(Refusal):
    """There is nothing of this name, or the person may not know that there is."""

    status = 404
    title = "There is no such thing here"


class Denied(Refusal):
    """The person lacks the right. `right` and `channel` say which."""

    status = 403
    title = "You may not do this"

    def __init__(self, text: str, right: str = "", channel: str = "") -> None:
        super().__init__(text)
        self.right, self.channel = right, channel


class Unknown(Refusal):
    """Nobody is logged in."""

    status = 401
    title = "Please log in"


class Conflict(Refusal):
    """The world has changed since the page was shown."""

    status = 409
    title = "This has changed meanwhile"


class TooLarge(Refusal):
    status = 413
    title = "This is too large"


class TooSlow(Refusal):
    status = 408
    title = "This took too long to come"


class TooMuch(Refusal):
    """Too much at once. `after`: seconds to wait; `again`: it is not the first one of a series."""

    status = 429
    title = "Too much at once"

    def __init__(self, text: str, after: int = 1, again: bool = False) -> None:
        super().__init__(text)
        self.after, self.again = after, again


class Away(Refusal):
    """The engine or its store is not there now."""

    status = 503
    title = "The engine cannot be reached"


def refused(status: int, problems: Iterable[tuple[str, str]]) -> Refusal:
    """What a form with its problems says, for those who sent no form."""
    kinds: dict[int, type[Refusal]] = {kind.status: kind for kind in (NotFound, Conflict, Away)}
    text = "; ".join(said for _, said in problems)
    refusal = Invalid(*problems) if status == Invalid.status else kinds.get(status, Refusal)(text)
    refusal.status = status
    return refusal


@dataclass(slots=True)
class Noted:
    """What the audit trail says of a request, besides who and when. A handler adds what only it knows."""

    object: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    begun: bool = False  # a row says that this was begun: how it ended has to be another
    written: bool = False  # what succeeded has its row already, written in one transaction with it
