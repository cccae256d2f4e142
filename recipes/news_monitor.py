"""News monitor: read a stream of news by topic and sentiment, and raise an alarm where negative items surge.

    accelerate launch recipes/news_monitor.py --replay news.jsonl
    tail -F news.jsonl | python recipes/news_monitor.py --input - --sentiment_adapter runs/lora_finance

Expect at most 1 false alarm in 30 days, over all topics, where nothing changes
(tests/benchmarks/news_monitor.py --only stable).
"""

from adapters.recipe import (
    command,
)  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/news_monitor"}


def main() -> None:
    """Open, watch, save and print."""
    with command():
        from adapters.applications.news_monitor.news import NewsMonitor

        news = NewsMonitor(__doc__, DEFAULTS)
        news.open()
        news.watch()
        news.save_and_print()


if __name__ == "__main__":
    main()
