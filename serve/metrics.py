"""Numbers for Prometheus, in its text format 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import accumulate
from threading import Lock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper edges of the latency histogram."""


class Metrics:
    """Counts of this process since it started."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._audio_s: Counter[str] = Counter()
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._sums: Counter[str] = Counter()

    def record(self, route: str, status: int, seconds: float, audio_s: float = 0.0) -> None:
        """Count a request.

        Parameters
        ----------
        route : str
            As the service names it, never as the client wrote it: there must be few.
        status : int
            HTTP status.
        seconds : float
            From its arrival to the end of its answer.
        audio_s : float
            Audio that it was about.
        """
        with self._lock:
            self._requests[route, status] += 1
            self._audio_s[route] += audio_s
            self._counts[route][bisect_left(BUCKETS_S, seconds)] += 1
            self._sums[route] += seconds

    def text(self, **gauges: int) -> str:
        """All counts, and what is given as gauges, for a scraper."""
        with self._lock:
            lines = ["# TYPE msr_requests_total counter"]
            for (route, status), count in sorted(self._requests.items()):
                lines.append(f'msr_requests_total{{route="{route}",status="{status}"}} {count}')
            lines.append("# TYPE msr_audio_seconds_total counter")
            for route, seconds in sorted(self._audio_s.items()):
                lines.append(f'msr_audio_seconds_total{{route="{route}"}} {seconds:.3f}')
            lines.append("# TYPE msr_request_seconds histogram")
            for route, counts in sorted(self._counts.items()):
                below = list(accumulate(counts))
                for edge, count in zip([*BUCKETS_S, "+Inf"], below, strict=True):
                    labels = f'route="{route}",le="{edge}"'
                    lines.append(f"msr_request_seconds_bucket{{{labels}}} {count}")
                total = self._sums[route]
                lines.append(f'msr_request_seconds_sum{{route="{route}"}} {total:.6f}')
                lines.append(f'msr_request_seconds_count{{route="{route}"}} {below[-1]}')
        for name, value in gauges.items():
            lines += [f"# TYPE msr_{name} gauge", f"msr_{name} {value}"]
        return "\n".join(lines) + "\n"
