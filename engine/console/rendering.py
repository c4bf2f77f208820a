"""Models as pages: Jinja2 with everything escaped, and how instants, sizes and states look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from engine.escape import visible
from engine.ids import format_id
from engine.model import SECOND

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"

SIGNS: Final[Mapping[str, str]] = {
    **{"delivered": "✓", "translated": "✓", "running": "✓", "accepted": "✓", "ok": "✓", "done": "✓", "identical": "✓"},
    **{"waiting": "…", "received": "…", "sending": "→", "draining": "…", "planned": "…", "begun": "…"},
    **{"parked": "!", "rejected": "✗", "failed": "✗", "refused": "✗", "expired": "✗", "failing": "✗", "denied": "✗"},
    **{
        "filtered": "–",
        "duplicate": "=",
        "cancelled": "–",
        "stopped": "■",
        "paused": "‖",
        "held": "!",
        "open": "!",
        "changed": "≠",
    },
    **{"in doubt": "?", "unknown": "?", "away": "?", "unreached": "✗", "busy": "…", "misconfigured": "!"},
}
"""Beside the word and the colour: a state is never told by colour alone."""

TONES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("delivered", "translated", "running", "accepted", "ok", "done", "identical"), "good"),
    **dict.fromkeys(("waiting", "received", "sending", "draining", "planned", "begun", "changed"), "busy"),
    **dict.fromkeys(("parked", "held", "open", "paused", "in doubt", "unknown", "unreached", "busy", "misconfigured"), "warn"),
    **dict.fromkeys(("rejected", "failed", "refused", "expired", "failing", "denied"), "bad"),
}
"""A state's tone: a class of the style sheet; what is not here is `plain`."""


class Rendering:
    """Templates of one console. `zone` is the site's: every instant is shown in it, and says so."""

    def __init__(self, zone: str, facts: Mapping[str, Any]) -> None:
        self._zone = ZoneInfo(zone)
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(facts, url=url, static=static, SIGNS=SIGNS, TONES=TONES)
        self._environment.filters.update(
            time=self.time,
            clock=self.clock,
            iso=self.iso,
            ago=ago,
            span=span,
            size=size,
            count=count,
            id=_identity,
            visible=visible,
        )

    def render(self, template: str, **context: Any) -> str:
        return self._environment.get_template(template).render(**context)

    def time(self, instant: int) -> str:
        """`2026-11-21 10:30:00 EST`; '' for none."""
        return self._local(instant).strftime("%Y-%m-%d %H:%M:%S %Z") if instant else ""

    def clock(self, instant: int) -> str:
        """`10:30:00.125`; the day stands beside it."""
        return f"{self._local(instant):%H:%M:%S}.{instant // 1000 % 1000:03d}" if instant else ""

    def iso(self, instant: int) -> str:
        """For `<time datetime>`: `2026-11-21T10:30:00.125-05:00`."""
        return self._local(instant).isoformat(timespec="milliseconds") if instant else ""

    def _local(self, instant: int) -> datetime:
        return datetime.fromtimestamp(instant / SECOND, self._zone)


@pass_context
def ago(context: Context, instant: int) -> str:
    """`4 min ago`, as of the request."""
    return f"{span(max(0, context['visit'].now - instant))} ago" if instant else ""


def span(microseconds: int) -> str:
    """`12 ms`, `4.2 s`, `4 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = microseconds / SECOND
    if seconds < 1:
        return f"{microseconds / 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def size(number: int) -> str:
    """`812 B`, `2.1 kB`, `35 MB`."""
    if number < 1000:
        return f"{number} B"
    value, unit = number / 1000, "kB"
    for larger in ("MB", "GB"):
        if value >= 999.5:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def count(number: float) -> str:
    """`1,234`."""
    return f"{number:,.0f}"


def _identity(number: int) -> str:
    return format_id(number) if number else ""


def url(path: str, /, **query: Any) -> str:
    """A path of ours with its query; what is empty is left out. Parts of the path must be quoted by `url` too: `{id}`."""
    words = {name: value for name, value in query.items() if value not in ("", None, 0, False)}
    return quote(path) + (f"?{urlencode(words, doseq=True)}" if words else "")


_HASHES: dict[str, str] = {}


def static(name: str) -> str:
    """The address of a static file, which says which content it is."""
    if name not in _HASHES:
        _HASHES[name] = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{_HASHES[name]}"
