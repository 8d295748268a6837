"""What is read at the moment of a scrape, beside what was counted; and both as the text that Prometheus takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from service.metrics.metrics import PREFIX
from service.models.fleet import Fleet
from streaming.streams import Streams
from uploads.jobs import FINAL_STATES, JobState

JOB_STATES: tuple[JobState, ...] = ("queued", "running", *FINAL_STATES)


@dataclass(frozen=True, slots=True)
class Moment:
    """`jobs` is None when the store did not say in time: no number is better than an old one."""

    running: int
    waiting: int
    readers: int
    models: Mapping[str, str]
    restarts: Mapping[str, int]
    jobs: Mapping[JobState, int] | None


def moment_of(fleet: Fleet, streams: Streams, jobs: Mapping[JobState, int] | None) -> Moment:
    """On the event loop, where all of this lives."""
    loads = [engine.load for engine in fleet.engines]
    models = fleet.registry.models.values()
    return Moment(
        running=sum(load.running for load in loads),
        waiting=sum(load.waiting for load in loads),
        readers=streams.readers,
        models={model.name: model.loaded.version for model in models if model.loaded is not None},
        restarts={model.name: model.restarts for model in models if model.kind == "language"},
        jobs=jobs,
    )


class Scrape:
    """The counted numbers and a moment's, as one collector."""

    def __init__(self, registry: CollectorRegistry, moment: Moment) -> None:
        self._registry = registry
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            # when a number was first counted doubles the series and tells nothing
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
        yield from families(self._moment)


def text_of(registry: CollectorRegistry, moment: Moment) -> bytes:
    return generate_latest(Scrape(registry, moment))


def families(moment: Moment) -> Iterator[Metric]:
    yield gauge("generations_running", "Generations that are being made.", moment.running)
    yield gauge("generations_waiting", "Generations that wait for a place.", moment.waiting)
    yield gauge("readers", "Connections that read an answer.", moment.readers)
    models = GaugeMetricFamily(f"{PREFIX}_model_info", "1 for each model that is loaded.", labels=("model", "version"))
    for name, version in moment.models.items():
        models.add_metric((name, version), 1)
    yield models
    restarts = CounterMetricFamily(
        f"{PREFIX}_engine_restarts", "Engines that took the place of one that hung or died.", labels=("model",)
    )
    for name, count in moment.restarts.items():
        restarts.add_metric((name,), count)
    yield restarts
    if moment.jobs is None:
        return
    jobs = GaugeMetricFamily(f"{PREFIX}_jobs", "Background jobs that are kept, by state.", labels=("state",))
    for state in JOB_STATES:
        jobs.add_metric((state,), moment.jobs.get(state, 0))
    yield jobs


def gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", said, value=value)
