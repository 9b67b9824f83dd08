"""Metrics of one process for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from serve.lanes import LANES
from serve.pool import Pool

__all__ = ["BUCKETS_S", "CONTENT_TYPE", "Metrics"]

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper edges of the latency histogram, in seconds."""

# Otherwise each counter and each bucket set gets a second series with its time of creation.
disable_created_metrics()


class Metrics:
    """Counters of requests, their latency and their audio since the process started.

    Parameters
    ----------
    pool : Pool
        Does the work of requests.
    """

    def __init__(self, pool: Pool) -> None:
        # A registry of its own: several applications may live in one process.
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "msr_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._late_errors = Counter(
            "msr_late_errors",
            "Answers with status 200 that ended with an error, by the status of the error.",
            ["route", "status"],
            registry=self._registry,
        )
        self._audio_s = Counter(
            "msr_audio_seconds", "Seconds of audio analysed.", ["route"], registry=self._registry
        )
        self._seconds = Histogram(
            "msr_request_seconds",
            "Seconds from the arrival of a request to the end of its answer.",
            ["route"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_PoolCollector(pool))

    def record(self, route: str, status: int, seconds: float, audio_s: float = 0.0) -> None:
        """Count a request.

        Parameters
        ----------
        route : str
            The route's rule, such as ``/v1/models/<name>``, never the path that the client sent:
            the number of label values must stay small. Empty if no route matches.
        status : int
            HTTP status.
        seconds : float
            Time from the arrival of the request to the end of its answer.
        audio_s : float
            Seconds of audio analysed.
        """
        self._requests.labels(route, status).inc()
        self._audio_s.labels(route).inc(audio_s)
        self._seconds.labels(route).observe(seconds)

    def record_late_error(self, route: str, status: int) -> None:
        """Count an error that came after the status of the answer was sent.

        Parameters
        ----------
        route : str
            As in `record`. The answer counts there as well, with the status that it had.
        status : int
            HTTP status of the error.
        """
        self._late_errors.labels(route, int(status)).inc()

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus, version 0.0.4."""
        return generate_latest(self._registry)


class _PoolCollector(Collector):
    """What the pool of workers does now."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        pool = self._pool
        yield GaugeMetricFamily("msr_workers", "Worker processes.", pool.n_workers)
        running, waiting = (
            GaugeMetricFamily(name, text, labels=["lane"])
            for name, text in (
                ("msr_requests_in_flight", "Requests that run now."),
                ("msr_requests_waiting", "Requests that wait for a worker now."),
            )
        )
        for lane in LANES:
            running.add_metric([lane], pool.running(lane))
            waiting.add_metric([lane], pool.waiting(lane))
        killed = CounterMetricFamily(
            "msr_workers_killed", "Workers that ended before their task did.", labels=["reason"]
        )
        for reason, number in sorted(pool.killed.items()):
            killed.add_metric([reason], number)
        dropped = CounterMetricFamily(
            "msr_output_dropped_bytes",
            "Bytes that decoders printed and that were not logged.",
            pool.dropped_bytes,
        )
        yield from (running, waiting, killed, dropped)
