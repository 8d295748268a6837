"""Several rankings of the same things made into one: reciprocal rank fusion."""

from collections.abc import Mapping, Sequence

RANK_OFFSET = 60  # of the method's authors: what ranks well in two lists goes before what is first in one


def fuse(rankings: Sequence[tuple[float, Sequence[int]]]) -> Mapping[int, float]:
    """Each ranking with its weight, the best first. A score of 1 is the first place in all of them; best first."""
    scores: dict[int, float] = {}
    weights = sum(weight for weight, _ in rankings)
    for weight, ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + weight * (RANK_OFFSET + 1) / (RANK_OFFSET + rank)
    best_first = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    return {item: score / weights for item, score in best_first}
