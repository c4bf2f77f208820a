"""Counters and histograms from events, in plain dictionaries; the Prometheus text is made when somebody asks for it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine import __version__, events

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]
Reading = Callable[[], Iterable[tuple[Labels, float]]]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of answers: acknowledgements, attempts, commits."""
AGES = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Upper bounds of how long a delivery took from being recorded: a queue may be a day old."""


class Histogram:
    """Counts by upper bound. `rows[labels]` is one count a bound, one above the last bound, and the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.rows: defaultdict[Any, list[float]] = defaultdict(lambda: [0] * (len(bounds) + 2))

    def observe(self, label: Any, seconds: float) -> None:
        row = self.rows[label]
        row[bisect_left(self.bounds, seconds)] += 1
        row[-1] += seconds

    def quantile(self, row: Sequence[float], q: float) -> float:
        """About how long the fraction `q` of what `row` counts took at most, in seconds; 0 where it counts nothing. As exact
        as the bounds: what is beyond the last one counts as that."""
        left = q * sum(row[: len(self.bounds) + 1])
        lower = 0.0
        for bound, count in zip(self.bounds, row, strict=False):
            if 0 < left <= count:
                return lower + (bound - lower) * left / count
            left -= count
            lower = bound
        return lower if left > 0 else 0.0

    def cumulative(self, row: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
        """Prometheus' buckets (`le`, count up to it) and the sum."""
        buckets, total = [], 0.0
        for bound, count in zip((*self.bounds, float("inf")), row, strict=False):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        return buckets, row[-1]


class Metrics:
    """Listens to a `Bus`; `text()` is what `/metrics` answers. A restart begins at zero, as Prometheus expects.

    Labels are names from the site's files and words of ours, never anything from a message.
    """

    def __init__(self) -> None:
        self._counters: dict[str, defaultdict[Any, float]] = {name: defaultdict(int) for name in COUNTERS}
        self._histograms = {name: Histogram(bounds) for name, (_, _, bounds) in HISTOGRAMS.items()}
        self._states: dict[str, dict[str, str]] = {"channel": {}, "destination": {}, "disk": {}}
        self._gauges: dict[str, tuple[str, Sequence[str], Reading]] = {}
        self._registry: Any = None
        self.handlers: Mapping[type, Callable[[Any], None]] = self._make_handlers()

    def __call__(self, event: events.Event) -> None:
        if handler := self.handlers.get(type(event)):
            handler(event)

    def gauge(self, name: str, about: str, labels: Sequence[str], reading: Reading) -> None:
        """A figure read when it is asked for: `reading` gives (label values, value) pairs and must be quick."""
        self._gauges[name] = (about, labels, reading)

    def value(self, name: str, *labels: str) -> float:
        """A counter's value, for tests and for the summary of a run: `value('wardline_messages_received', 'charges')`."""
        row = self._counters[name]
        return row.get(labels[0] if len(labels) == 1 else labels, 0)

    def counter(self, name: str) -> Mapping[Any, float]:
        """A counter's values by their label, or by a tuple where there are several. It goes on counting."""
        return self._counters[name]

    def histogram(self, name: str) -> Histogram:
        return self._histograms[name]

    def _make_handlers(self) -> dict[type, Callable[[Any], None]]:
        """One small function for each kind of event. This is the hot path: closures over dictionaries, no attributes."""
        handlers: dict[type, Callable[[Any], None]] = {
            events.KeyReuse: self._count_first("wardline_messages_key_reuse"),
            events.Duplicate: self._count_first("wardline_messages_duplicate"),
            events.Filtered: self._count_first("wardline_messages_filtered"),
            events.Rejected: self._count_first("wardline_messages_rejected"),
            events.Unavailable: self._count_first("wardline_messages_unavailable"),
        }
        handlers |= self._intake_handlers() | self._delivery_handlers() | self._engine_handlers()
        return handlers

    def _count_first(self, name: str) -> Callable[[Any], None]:
        counts = self._counters[name]

        def handle(event: Any) -> None:
            counts[event[0]] += 1

        return handle

    def _intake_handlers(self) -> dict[type, Callable[[Any], None]]:
        count = self._counters
        received, size = count["wardline_messages_received"], count["wardline_received_bytes"]
        heard = count["wardline_acknowledgements"]
        answered = self._histograms["wardline_acknowledgement_seconds"].observe
        translated, created = count["wardline_messages_translated"], count["wardline_deliveries_created"]
        parked, refused = count["wardline_messages_parked"], count["wardline_frames_refused"]
        irregular, by_hand = count["wardline_irregularities"], count["wardline_messages_submitted"]

        def on_received(event: events.Received) -> None:
            channel, _, length = event
            received[channel] += 1
            size[channel] += length

        def on_acknowledged(event: events.Acknowledged) -> None:
            channel, _, told, seconds = event
            heard[channel, "heard" if told else "unheard"] += 1
            answered(channel, seconds)

        def on_translated(event: events.Translated) -> None:
            translated[event[0]] += 1
            created[event[0]] += event[2]

        def on_parked(event: events.Parked) -> None:
            parked[event.channel, event.park_reason] += 1

        def on_frame_refused(event: events.FrameRefused) -> None:
            refused[event.channel, event.reason.partition(":")[0]] += 1

        def on_irregular(event: events.Irregular) -> None:
            irregular[event.channel, event.reason.partition(":")[0]] += 1

        def on_submitted(event: events.Submitted) -> None:
            by_hand[event.channel, event.verdict] += 1

        return {
            events.Submitted: on_submitted,
            events.Received: on_received,
            events.Acknowledged: on_acknowledged,
            events.Translated: on_translated,
            events.Parked: on_parked,
            events.FrameRefused: on_frame_refused,
            events.Irregular: on_irregular,
        }

    def _delivery_handlers(self) -> dict[type, Callable[[Any], None]]:
        attempts, ended = self._counters["wardline_attempts"], self._counters["wardline_deliveries_ended"]
        attempted = self._histograms["wardline_attempt_seconds"].observe
        lived = self._histograms["wardline_delivery_seconds"].observe
        states = self._states["destination"]

        def on_attempted(event: events.Attempted) -> None:
            destination, _, _, outcome, _, seconds, _ = event
            attempts[destination, outcome] += 1
            attempted(destination, seconds)

        def on_ended(event: events.DeliveryEnded) -> None:
            destination, _, _, state, _, seconds = event
            ended[destination, state] += 1
            lived(destination, seconds)

        def on_destination(event: events.DestinationChanged) -> None:
            states[event.destination] = event.state

        return {events.Attempted: on_attempted, events.DeliveryEnded: on_ended, events.DestinationChanged: on_destination}

    def _engine_handlers(self) -> dict[type, Callable[[Any], None]]:
        committed = self._histograms["wardline_commit_seconds"].observe
        items, faults = self._counters["wardline_committed_items"], self._counters["wardline_faults"]
        recovered, states = self._counters["wardline_recovered"], self._states["channel"]
        pruned, room = self._counters["wardline_pruned"], self._states["disk"]

        def on_committed(event: events.Committed) -> None:
            items[()] += event[0]
            committed((), event[1])

        def on_recovered(event: events.Recovered) -> None:
            recovered["in_doubt"] += event.in_doubt
            recovered["untranslated"] += event.untranslated

        def on_pruned(event: events.Pruned) -> None:
            for kind, number in event._asdict().items():
                pruned[kind] += number

        def on_space(event: events.SpaceChanged) -> None:
            room["store"] = event.state

        def on_channel(event: events.ChannelChanged) -> None:
            states[event.channel] = event.state

        def on_engine(event: events.EngineChanged) -> None:
            if event.state in events_of_faults:
                faults[event.state] += 1

        return {
            events.Committed: on_committed,
            events.Recovered: on_recovered,
            events.Pruned: on_pruned,
            events.SpaceChanged: on_space,
            events.ChannelChanged: on_channel,
            events.EngineChanged: on_engine,
        }

    # ── exposition ─────────────────────────────────────────────────────────────────────────────────────────────────

    def text(self) -> bytes:
        """Everything in Prometheus' text format, with the process's own figures (CPU, memory, open files)."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
            ProcessCollector(registry=self._registry)
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """For a Prometheus registry: this object is a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        info = GaugeMetricFamily("wardline_build", "The release that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        for name, (about, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, about, labels=labels)
            for values, number in list(self._counters[name].items()):
                counter.add_metric(_values(values), number)
            yield counter
        for name, (about, labels, _) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, about, labels=labels)
            for values, row in list(self._histograms[name].rows.items()):
                buckets, total = self._histograms[name].cumulative(row)
                histogram.add_metric(_values(values), buckets, total)
            yield histogram
        for noun, states in self._states.items():
            gauge = GaugeMetricFamily(f"wardline_{noun}_state", f"1 for the state a {noun} is in.", labels=[noun, "state"])
            for one, state in list(states.items()):
                gauge.add_metric([one, state], 1)
            yield gauge
        for name, (about, names, reading) in self._gauges.items():
            gauge = GaugeMetricFamily(name, about, labels=list(names))
            for labels_, number in reading():
                gauge.add_metric(list(labels_), number)
            yield gauge


def _values(labels: Any) -> list[str]:
    """Rows are kept under a bare text where there is one label: the commonest, and the cheapest."""
    return [labels] if isinstance(labels, str) else list(labels)


events_of_faults = ("failed", "fault")

COUNTERS: dict[str, tuple[str, list[str]]] = {
    "wardline_messages_received": ("Messages stored as received.", ["channel"]),
    "wardline_received_bytes": ("Bytes of messages stored as received.", ["channel"]),
    "wardline_messages_duplicate": ("Re-sends answered with the first acknowledgement.", ["channel"]),
    "wardline_messages_key_reuse": ("Messages whose dedupe key came before with other content.", ["channel"]),
    "wardline_messages_filtered": ("Messages that were unwanted but fine.", ["channel"]),
    "wardline_messages_rejected": ("Messages refused on the wire.", ["channel"]),
    "wardline_messages_unavailable": ("Messages not stored for our own reasons; the sender was asked to repeat.", ["channel"]),
    "wardline_messages_translated": ("Messages whose routes were all recorded.", ["channel"]),
    "wardline_messages_parked": ("Messages that wait for a person.", ["channel", "reason"]),
    "wardline_messages_submitted": ("Messages that people gave a channel by hand.", ["channel", "verdict"]),
    "wardline_frames_refused": ("Bytes on a connection that are no frame, too large or too slow.", ["channel", "reason"]),
    "wardline_irregularities": (
        "What is not as it should be while work goes on; once for each peer in ten minutes.",
        ["channel", "reason"],
    ),
    "wardline_acknowledgements": ("Replies handed to the transport, or too late to be heard.", ["channel", "result"]),
    "wardline_deliveries_created": ("Deliveries recorded by translation.", ["channel"]),
    "wardline_attempts": ("Attempts to deliver that ended.", ["destination", "outcome"]),
    "wardline_deliveries_ended": ("Deliveries that reached an end state.", ["destination", "state"]),
    "wardline_committed_items": ("Items carried by group commits.", []),
    "wardline_recovered": ("What the start found: attempts in doubt, messages not yet translated.", ["kind"]),
    "wardline_pruned": ("What retention has forgotten: messages, deliveries, contents.", ["kind"]),
    "wardline_faults": ("Failures and faults of the engine itself.", ["state"]),
}
"""name: (what it counts, labels). Prometheus adds `_total` to each name."""

HISTOGRAMS: dict[str, tuple[str, list[str], Sequence[float]]] = {
    "wardline_acknowledgement_seconds": ("From a message's arrival to its reply.", ["channel"], SECONDS),
    "wardline_attempt_seconds": ("How long attempts took.", ["destination"], SECONDS),
    "wardline_delivery_seconds": ("From a delivery's recording to its end.", ["destination"], AGES),
    "wardline_commit_seconds": ("Group commits: transaction, commit and fsync.", [], SECONDS),
}
"""name: (what it measures, labels, upper bounds)."""
