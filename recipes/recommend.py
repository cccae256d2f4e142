"""Recommendation: learn from the texts of items and what users did with them what a user will like next.

    accelerate launch recipes/recommend.py --items_file items.jsonl --events_file events.jsonl
    python recipes/recommend.py --items_file movies.csv --events_file ratings.csv --min_rating 4

Expect nDCG@10 and recall@50 over all items, split by time, compared with popularity, item-kNN, BM25 and, where asked
for, ALS: MovieLens (latest-small) with plots, all items, nDCG@10 28.5 (tests/benchmarks/recommendation.py).
"""

from adapters.recipe import (
    command,
)  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/recommend"}


def main() -> None:
    """Read, learn, rank, evaluate, save and print."""
    with command():
        from adapters.applications.recommendation.learning import Recommendation

        recommendation = Recommendation(__doc__, DEFAULTS)
        recommendation.read()
        recommendation.learn()
        recommendation.rank()
        scores = recommendation.evaluate()
        recommendation.save_and_print(scores)


if __name__ == "__main__":
    main()
