"""Figures for Prometheus: whatever has some gives (name, words, value), read at the moment that somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

LOOPBACK: Final = "127.0.0.1"

Figures = Callable[[], Iterable[tuple[str, str, float]]]


class FiguresCollector(Collector):
    """Figures as Prometheus collects them: ``registry.register(FiguresCollector(institution.figures))``."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return nothing: what is told is known without asking now."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the figures of this moment."""
        for name, words, value in self._figures():
            yield GaugeMetricFamily(f"shuiqiao_{name}", words, value=value)


@contextmanager
def served_figures(figures: Figures, *, port: int) -> Generator[int]:
    """Answer ``/metrics`` at a loopback port inside, and give the port; 0 takes a free one. Raises OSError.

    ::

        with served_figures(watch.figures, port=9600) as port:
            print(f"http://127.0.0.1:{port}/metrics")
    """
    registry = CollectorRegistry()
    registry.register(FiguresCollector(figures))
    server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
