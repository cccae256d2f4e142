"""Watch a stream of news, or replay a past period."""

from __future__ import annotations

from collections.abc import Sequence

HELP = "watch a stream of news, and raise an alarm where negative ones surge"
GROUP = "Use artifacts"
DESCRIPTION = """Watch a stream of news by topic, sentiment and entity; raise an alarm where negative items surge.

taskswap news_monitor --input news.jsonl --sentiment_adapter runs/lora_classification/artifact
taskswap news_monitor --replay news.jsonl

A row has a time, a text, a source and an id; and the sentiment, topics and entities for which no adapter is given."""


def settings() -> type:
    """The class of all flags."""
    from adapters.applications.news_monitor.settings import NewsMonitorSettings

    return NewsMonitorSettings


def run(argv: Sequence[str]) -> int:
    """Run `taskswap news_monitor`."""
    from adapters.applications.news_monitor.news import NewsMonitor

    news = NewsMonitor(DESCRIPTION, {}, argv)
    news.open()
    news.watch()
    news.save_and_print()
    return 0
