"""One place to tell an event, any number of listeners. Telling one that nobody listens to costs a dictionary look-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, get_args

from engine.events import Event

KINDS: tuple[type, ...] = get_args(Event)
Handler = Callable[[Any], None]


class Listener(Protocol):
    """A listener that is told only what it handles, without looking at the type again."""

    handlers: Mapping[type, Handler]


class Bus:
    """`emit` is an `engine.events.Emit`. It never raises: a listener that fails is reported once for each kind of event,
    is told the next event all the same, and never keeps the others from theirs. Everything runs in the reactor's thread.
    """

    __slots__ = ("_everything", "_handlers", "_reported")

    def __init__(self) -> None:
        self._handlers: dict[type, tuple[Handler, ...]] = dict.fromkeys(KINDS, ())
        self._everything: tuple[Handler, ...] = ()
        self._reported: set[tuple[Handler, type]] = set()

    def subscribe(self, listener: Callable[[Event], None] | Listener) -> Callable[[], None]:
        """Tell `listener` from now on: a callable every event, one with `handlers` what these name.

        Returns what ends the subscription.
        """
        chosen: Mapping[type, Handler] | None = getattr(listener, "handlers", None)
        if chosen is None:
            chosen = dict.fromkeys(KINDS, listener)  # type: ignore[arg-type]
            self._everything += (listener,)  # type: ignore[operator]
        for kind, handler in chosen.items():
            self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

        def unsubscribe() -> None:
            for kind, handler in chosen.items():
                self._handlers[kind] = _without(self._handlers[kind], handler)
            self._everything = _without(self._everything, listener)

        return unsubscribe

    def emit(self, event: Event) -> None:
        for handler in self._handlers.get(type(event), self._everything):
            try:
                handler(event)
            except Exception:
                self._failed(handler, type(event))

    def _failed(self, handler: Handler, kind: type) -> None:
        if (handler, kind) in self._reported:
            return
        self._reported.add((handler, kind))
        from twisted.logger import Logger

        name = getattr(handler, "__qualname__", type(handler).__name__)
        Logger("engine.observe").failure("A listener failed: {listener} on {kind}", listener=name, kind=kind.__name__)


def _without(handlers: tuple[Handler, ...], gone: object) -> tuple[Handler, ...]:
    """`handlers` less one `gone`. Compared by equality: a bound method is a new object each time it is looked up."""
    left = list(handlers)
    if gone in left:
        left.remove(gone)
    return tuple(left)
