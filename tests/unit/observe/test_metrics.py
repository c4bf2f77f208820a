from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine import events as e
from engine.events import Event
from engine.observe import Bus, Metrics
from engine.observe.metrics import COUNTERS, HISTOGRAMS, Histogram

EVERY_KIND: list[tuple[Event, dict[str, float]]] = [
    (e.Received("adt", 1, 300), {"wardline_messages_received_total{adt}": 1, "wardline_received_bytes_total{adt}": 300}),
    (e.Duplicate("adt", 1), {"wardline_messages_duplicate_total{adt}": 1}),
    (e.KeyReuse("adt", 1), {"wardline_messages_key_reuse_total{adt}": 1}),
    (e.Filtered("adt", 1, "test patient"), {"wardline_messages_filtered_total{adt}": 1}),
    (e.Rejected("adt", 1, "MSH-9"), {"wardline_messages_rejected_total{adt}": 1}),
    (e.Unavailable("adt", "disk"), {"wardline_messages_unavailable_total{adt}": 1}),
    (
        e.Acknowledged("adt", 1, True, 0.02),
        {"wardline_acknowledgements_total{adt,heard}": 1, "wardline_acknowledgement_seconds_count{adt}": 1},
    ),
    (e.Acknowledged("adt", 1, False, 0.02), {"wardline_acknowledgements_total{adt,unheard}": 1}),
    (e.Translated("adt", 1, 3), {"wardline_messages_translated_total{adt}": 1, "wardline_deliveries_created_total{adt}": 3}),
    (e.Parked("adt", 1, "unknown_code", "PV1-3"), {"wardline_messages_parked_total{adt,unknown_code}": 1}),
    (
        e.Attempted("erp", 7, 1, "busy", 2, 0.3, "503"),
        {"wardline_attempts_total{erp,busy}": 1, "wardline_attempt_seconds_sum{erp}": 0.3},
    ),
    (
        e.DeliveryEnded("erp", 7, 1, "delivered", "", 4.0),
        {"wardline_deliveries_ended_total{erp,delivered}": 1, "wardline_delivery_seconds_sum{erp}": 4.0},
    ),
    (e.DestinationChanged("erp", "held", "401"), {"wardline_destination_state{erp,held}": 1}),
    (e.ChannelChanged("adt", "running", ""), {"wardline_channel_state{adt,running}": 1}),
    (e.FrameRefused("adt", "10.0.0.1:4", "too_large", 9), {"wardline_frames_refused_total{adt,too_large}": 1}),
    (e.Submitted("adt", 7, "accepted", "ann", "why"), {"wardline_messages_submitted_total{adt,accepted}": 1}),
    (e.Committed(40, 0.004), {"wardline_committed_items_total{}": 40, "wardline_commit_seconds_count{}": 1}),
    (e.Recovered(2, 5), {"wardline_recovered_total{in_doubt}": 2, "wardline_recovered_total{untranslated}": 5}),
    (e.Pruned(2, 4, 7), {"wardline_pruned_total{messages}": 2, "wardline_pruned_total{contents}": 7}),
    (e.SpaceChanged("full", 9, 99), {"wardline_disk_state{store,full}": 1}),
    (e.EngineChanged("failed", "disk"), {"wardline_faults_total{failed}": 1}),
    (e.Irregular("adt", "10.1.2.3", "EB_WITHOUT_CR: once"), {"wardline_irregularities_total{adt,EB_WITHOUT_CR}": 1}),
]


def scraped(metrics: Metrics) -> dict[str, float]:
    """Samples as a Prometheus server reads them: `name{label values}`, labels in order of their names."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = ",".join(value for _, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.mark.parametrize(("event", "expected"), EVERY_KIND, ids=lambda value: type(value).__name__)
def test_each_event_counts(event: Event, expected: dict[str, float]) -> None:
    bus, metrics = Bus(), Metrics()
    bus.subscribe(metrics)
    bus.emit(event)
    samples = scraped(metrics)
    assert {name: samples.get(name) for name in expected} == expected


def test_no_event_is_forgotten() -> None:
    told = {type(event) for event, _ in EVERY_KIND}
    untold = {e.Listening}  # an address is no figure
    assert told | untold == set(Bus()._handlers)
    assert set(Metrics().handlers) == told


def test_counts_add_up_and_values_can_be_asked() -> None:
    metrics = Metrics()
    for size in (100, 200, 300):
        metrics(e.Received("adt", size, size))
    metrics(e.Received("orm", 1, 1))
    assert metrics.value("wardline_messages_received", "adt") == 3
    assert metrics.value("wardline_received_bytes", "adt") == 600
    assert metrics.value("wardline_attempts", "erp", "refused") == 0


def test_histograms_are_cumulative_and_their_bounds_belong_below() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe("erp", seconds)
    buckets, total = histogram.cumulative(histogram.rows["erp"])
    assert buckets == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert total == pytest.approx(7.65)


def test_a_changed_state_replaces_the_one_before() -> None:
    metrics = Metrics()
    metrics(e.DestinationChanged("erp", "held", "401"))
    metrics(e.DestinationChanged("erp", "running", ""))
    samples = scraped(metrics)
    assert samples["wardline_destination_state{erp,running}"] == 1
    assert "wardline_destination_state{erp,held}" not in samples


def test_gauges_are_read_when_asked() -> None:
    metrics, waiting = Metrics(), {"erp": 2}
    metrics.gauge("wardline_lanes_waiting", "Lanes.", ["destination"], lambda: [((name,), n) for name, n in waiting.items()])
    waiting["erp"] = 5
    assert scraped(metrics)["wardline_lanes_waiting{erp}"] == 5


def test_process_figures_are_there() -> None:
    assert scraped(Metrics())["process_resident_memory_bytes{}"] > 1_000_000


def test_names_follow_prometheus_habits() -> None:
    for name in (*COUNTERS, *HISTOGRAMS):
        assert name.startswith("wardline_")
        assert not name.endswith("_total")  # prometheus_client adds it
    assert all(name.endswith("_seconds") for name in HISTOGRAMS)
