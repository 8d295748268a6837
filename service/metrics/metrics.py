"""The numbers that are counted while the service works, in a registry of this application's own."""

from prometheus_client import CollectorRegistry, Counter, Histogram

PREFIX = "headwater"
REASONS = ("stop", "length", "cancelled", "failed")
OUTCOMES = ("kept", "cut", "refused", "failed")
RELOADS = ("loaded", "unchanged", "failed")

INTER_TOKEN_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10)
FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
GENERATION_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
REQUEST_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
BATCH_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
LAG_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 5)


class Metrics:
    """Safe to count with from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.generations = self._counter("generations", "Generations that ended, by how.", "reason")
        self.tokens_generated = self._counter("tokens_generated", "Tokens that models wrote.")
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of accepted prompts.")
        self.resumes = self._counter("resumes", "Readers that went on where an earlier connection stopped.")
        self.requests = self._counter("requests", "Requests that ended, by route.", "route", "method", "status")
        self.uploads = self._counter("uploads", "Files kept, and requests with files that brought none.", "outcome")
        self.upload_bytes = self._counter("upload_bytes", "Bytes of files that came in, kept or not.")
        self.model_reloads = self._counter(
            "model_reloads", "Attempts to load a newer model, by how they went.", "outcome"
        )
        self.cache_hits = self._counter("cache_hits", "Answers of one-shot models that were remembered.")
        self.cache_misses = self._counter("cache_misses", "Answers of one-shot models that had to be computed.")
        self.rate_limited = self._counter("rate_limited", "Requests refused because the caller asked too often.")
        self.batch_items = self._histogram("batch_items", "Requests that a model answered together.", BATCH_ITEMS)
        self.first_token_s = self._histogram(
            "time_to_first_token_seconds", "From accepted to the first text, waiting included.", FIRST_TOKEN_S
        )
        self.inter_token_s = self._histogram(
            "inter_token_seconds", "Between two pieces of text of one answer.", INTER_TOKEN_S
        )
        self.generation_s = self._histogram("generation_seconds", "From accepted to the end.", GENERATION_S)
        self.request_s = self._histogram(
            "request_seconds", "From a request's head to the last byte of its answer.", REQUEST_S, "route"
        )
        self.loop_lag_s = self._histogram(
            "event_loop_lag_seconds", "How late the event loop does what is due, asked fifty times a second.", LAG_S
        )
        for reason in REASONS:  # a rate of what has not happened yet is 0, not missing
            self.generations.labels(reason)
        for outcome in OUTCOMES:
            self.uploads.labels(outcome)
        for outcome in RELOADS:
            self.model_reloads.labels(outcome)

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(name, said, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(self, name: str, said: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, said, labels, namespace=PREFIX, registry=self.registry, buckets=buckets)
