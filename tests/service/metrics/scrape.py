"""A scrape, read by Prometheus' own parser."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """0 for what has not been counted yet."""
        return self._values.get((f"headwater_{name}", frozenset(labels.items())), 0)

    def labels(self, name: str, label: str) -> set[str]:
        samples = self.families[f"headwater_{name}"].samples
        return {sample.labels[label] for sample in samples}


def scrape(url: str) -> Scraped:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    return Scraped(answer.text)
