"""What the demo shows: channels, destinations, and what went wrong and why, from the engine's events alone."""

from __future__ import annotations

import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine import events
from engine.contracts import Clock, Site
from engine.ids import format_id

REFRESH = 0.25  # seconds
REMARKS = 12  # lines kept in view
END_STATES = ("delivered", "parked", "cancelled", "expired")


class Screen:
    """Subscribes to the engine's events. In a terminal it repaints; elsewhere it prints a line for each remark."""

    def __init__(self, site: Site, *, interactive: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=not interactive)
        self._interactive = interactive
        self._channels = {channel.name: Counter[str]() for channel in site.channels}
        self._destinations = {spec.name: Counter[str]() for spec in site.destinations}
        self._feeds_of = {channel.name: channel for channel in site.channels}
        self._remarks: deque[Text] = deque(maxlen=REMARKS)
        self._live: Live | None = None
        self._began = time.monotonic()
        self._note = ""
        self._invitation = ""

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.Received(channel, _, _):
                self._channels[channel]["received"] += 1
            case events.Translated(channel, _, deliveries):
                self._channels[channel]["translated"] += 1
                self._channels[channel]["deliveries"] += deliveries
            case events.Filtered(channel, message_id, reason):
                self._channels[channel]["filtered"] += 1
                self._remark("cyan", f"filtered  {format_id(message_id)}  {channel}: {reason}")
            case events.Rejected(channel, message_id, reason):
                self._channels[channel]["rejected"] += 1
                self._remark("magenta", f"rejected  {format_id(message_id)}  {channel}: {reason}")
            case events.Duplicate(channel, message_id):
                self._channels[channel]["duplicate"] += 1
                self._remark("cyan", f"duplicate {format_id(message_id)}  {channel}: the first answer was given again")
            case events.Parked(channel, message_id, _, reason):
                self._channels[channel]["parked"] += 1
                self._remark("red", f"parked    {format_id(message_id)}  {channel}: {reason}")
            case events.Attempted(destination, _, message_id, outcome, attempt, _, reason):
                self._destinations[destination]["attempts"] += 1
                if outcome not in ("delivered", "refused"):
                    self._destinations[destination]["again"] += 1
                    text = f"again     {format_id(message_id)}  {destination}: {outcome}, attempt {attempt}: {reason}"
                    self._remark("yellow", text)
            case events.DeliveryEnded(destination, _, message_id, state, reason, _):
                self._destinations[destination][state] += 1
                if state != "delivered":
                    self._remark("red", f"{state:9} {format_id(message_id)}  {destination}: {reason}")
            case events.DestinationChanged(destination, state, reason):
                self._remark("red", f"{state:9} {destination}: {reason}")
            case events.Listening(channel, address):
                self._remark("green", f"listening {channel} on {address}")
            case events.EngineChanged("failed" | "fault", reason):
                self._remark("red", f"engine    {reason}")

    def start(self, clock: Clock) -> None:
        self._began = time.monotonic()
        if self._interactive:
            self._live = Live(self._picture(), console=self._console, auto_refresh=False)
            self._live.start()

            def repaint() -> None:
                if self._live is not None:
                    self._live.update(self._picture(), refresh=True)
                    clock.callLater(REFRESH, repaint)

            repaint()

    def stop(self) -> None:
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()
            self._live = None

    def note(self, text: str) -> None:
        self._note = text

    def invite(self, address: str) -> None:
        """The link by which the first person gets into the console."""
        self._invitation = address
        if not self._interactive:
            self._remark("green", f"console   {address}")

    def settled(self, sent: int) -> bool:
        """Every message that was sent is accounted for, and every delivery has ended."""
        seen = sum(
            counts["translated"] + counts["filtered"] + counts["rejected"] + counts["parked"] + counts["duplicate"]
            for counts in self._channels.values()
        )
        ended = sum(counts[state] for counts in self._destinations.values() for state in END_STATES)
        return seen >= sent and ended >= sum(counts["deliveries"] for counts in self._channels.values())

    def summary(self, answers: dict[str, dict[str, int]], directory: Path) -> None:
        self.stop()
        if not self._interactive:
            self._console.print(self._tables())
        said = "; ".join(
            f"{name}: " + ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
            for name, counts in answers.items()
        )
        delivered = sum(counts["delivered"] for counts in self._destinations.values())
        self._console.print(f"\nThe EHR was answered {said}.")
        self._console.print(
            f"{delivered} deliveries arrived, in {time.monotonic() - self._began:.0f} s. Everything is kept; look for yourself:"
        )
        self._console.print(f"  .venv/bin/wardline search state:parked --site {directory}", style="bold")
        self._console.print(f"  .venv/bin/wardline show ID --site {directory}", style="bold")

    def _remark(self, colour: str, text: str) -> None:
        line = Text(text, style=colour)
        self._remarks.append(line)
        if not self._interactive:
            self._console.print(line)

    def _picture(self) -> Group:
        remarks: Any = Group(*self._remarks) if self._remarks else Text("nothing yet", style="dim")
        parts: list[Any] = [self._tables(), Panel(remarks, title="What is worth a look", title_align="left")]
        if self._invitation:
            parts.append(Text.assemble(("The console: ", "bold"), (self._invitation, "bold cyan")))
        if self._note:
            parts.append(Text(self._note, style="bold green"))
        return Group(*parts)

    def _tables(self) -> Group:
        arrived = _table("What arrived", ["channel", "received", "filtered", "rejected", "parked", "duplicate"])
        for name, counts in self._channels.items():
            arrived.add_row(
                name, *(_number(counts[word], word) for word in ("received", "filtered", "rejected", "parked", "duplicate"))
            )
        went = _table("What went where", ["destination", "delivered", "tried again", "refused, parked"])
        for name, counts in self._destinations.items():
            went.add_row(
                name, _number(counts["delivered"], ""), _number(counts["again"], "again"), _number(counts["parked"], "parked")
            )
        return Group(arrived, Text(), went)


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for n, column in enumerate(columns):
        table.add_column(column, justify="right" if n else "left", min_width=10)
    return table


def _number(count: int, word: str) -> Text:
    alarming = count and word in ("rejected", "parked")
    return Text(str(count), style="red" if alarming else "yellow" if count and word == "again" else "")
