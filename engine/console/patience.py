"""How long the console waits for a request to be said: whoever opens connections and says nothing, or a byte now and then,
does not keep the others out."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD: Final = 20.0  # seconds for the head of a request, from its first byte, or from when the connection was made


class Patience(H11Protocol):
    """HTTP/1.1 by h11, whose limit on a head's size holds; a head that does not come to its end ends the connection."""

    _deadline: Any = None  # the loop's timer

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """A clock runs while a head is being waited for; between requests, from what came last."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD, self._too_slow)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
