"""The settings of the news monitor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.core.environment import require_libraries
from adapters.core.errors import SettingsError
from adapters.core.settings import require

LIBRARIES = ("datasketch", "feedparser")
MINUTES_PER_MONTH = 30 * 24 * 60
MINUTES_PER_DAY = 24 * 60
STDIN = "-"
LASTING = ("window_minutes", "time_zone", "delay_minutes", "memory_days", "learning_days", "copy_similarity")
"""Settings that what was learned depends on: a folder keeps them."""


@dataclass(frozen=True, kw_only=True)
class NewsMonitorSettings:
    """A stream of news, how it is read, and when it raises an alarm."""

    input: str | None = None
    """File of items that grows, a JSON object on each line; - is standard input."""
    feeds: list[str] = field(default_factory=list)
    """RSS or Atom feeds, by URL, that are polled."""
    push: bool = False
    """Items are posted to a server: make the folder for `taskswap serve --application news_monitor=FOLDER`, and end."""
    replay: str | None = None
    """File of a past period, read once, as fast as possible; then the report is written."""
    output_dir: str = "runs/news_monitor"
    """Folder of the monitor: its state, its log and its report."""
    overwrite_output_dir: bool = False
    """Forget what the folder has, and begin anew."""
    model_name_or_path: str = "minilm"
    """Base model of the adapters: a path, an alias or a Hub id."""
    sentiment_adapter: str | None = None
    """Artifact of the task classification. Default: the sentiment in the rows."""
    topic_adapter: str | None = None
    """Artifact of the task classification, for topics; also with several labels. Default: the topics in the rows."""
    entity_adapter: str | None = None
    """Artifact of the task ner. Default: the entities in the rows."""
    entity_sentiment_adapter: str | None = None
    """Artifact of the task classification of pairs: a text, and an entity in it. Default: the sentiment of the item."""
    entity_types: list[str] = field(default_factory=list)
    """Types of entities that are watched. Default: all."""
    negative_labels: list[str] = field(default_factory=lambda: ["negative"])
    """Labels of sentiment that count as negative."""
    labelled_file: str | None = None
    """Items with a column label, from which the classifier's errors are learned. Shares are then corrected for them."""
    device: str = "auto"
    """auto (cuda, mps or cpu), or the name of a device."""
    batch_items: int = 64
    """Items that are read and written together, at most."""
    window_minutes: int = 60
    """Length of a window in minutes."""
    time_zone: str = "UTC"
    """Of times that name none, and of the day and hour that the baseline learns: Europe/Berlin."""
    delay_minutes: float = 30.0
    """So much later than the newest item an item may come and still be counted."""
    ahead_minutes: float = 10.0
    """So far ahead of this machine's clock a time may be."""
    copy_similarity: float = 0.8
    """Jaccard similarity of two texts' five-character shingles from which the later one is a copy."""
    copy_hours: float = 48.0
    """Between copies, at most."""
    max_item_bytes: int = 1_000_000
    """Longer lines are refused, unread."""
    false_alarms_per_month: float = 1.0
    """Alarms in 30 days of a stream in which nothing changes, over all topics and entities, on average."""
    memory_days: float = 28.0
    """After so long, an item counts half in the baseline."""
    learning_days: float = 7.0
    """So long a new topic or entity is only learned."""
    quiet_windows: int = 2
    """So many windows without an excess end an alarm."""
    longest_days: float = 7.0
    """After so long, an alarm ends as the new level, which is learned anew."""
    min_sources: int = 2
    """Sources with negative items that an alarm needs; with 2 or more, it must also hold without its largest one."""
    max_series: int = 1000
    """Topics and entities that are watched, the first ones."""
    keep_days: float = 90.0
    """So long items are kept. Windows and alarms stay."""
    poll_seconds: float = 300.0
    """Between two polls of a feed."""
    webhook: str | None = None
    """URL to which alarms are posted as JSON, signed."""
    webhook_secret_file: str | None = None
    """File with the key of the signature. Default: the variable TASKSWAP_WEBHOOK_SECRET."""

    def check(self) -> None:
        """Check all values before anything is read. Raises SettingsError that names the flag."""
        ways = [name for name in ("input", "feeds", "push", "replay") if getattr(self, name)]
        if not ways:
            raise SettingsError(
                "There is no news to read: give --input FILE (- for standard input), --feeds URL …, "
                "--push, or --replay FILE."
            )
        alone = self.replay is None or len(ways) == 1
        require(alone, "replay", self.replay, "given without --input, --feeds and --push")
        require(self.replay is None or Path(self.replay).is_file(), "replay", self.replay, "a file that is there")
        require(not self.push or self.input != STDIN, "input", self.input, "a file: a server has no standard input")
        require(self.webhook is None or self.replay is None, "webhook", self.webhook, "left out in a replay")
        for name in ("batch_items", "window_minutes", "max_item_bytes", "quiet_windows", "min_sources", "max_series"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("memory_days", "false_alarms_per_month", "longest_days", "keep_days", "copy_hours"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("delay_minutes", "ahead_minutes", "learning_days"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.poll_seconds >= 1, "poll_seconds", self.poll_seconds, "at least 1")
        require(0.2 <= self.copy_similarity <= 1, "copy_similarity", self.copy_similarity, "between 0.2 and 1")
        require(bool(self.negative_labels), "negative_labels", "", "at least one label")
        kept = self.keep_days * MINUTES_PER_DAY
        longest = max(60 * self.copy_hours, self.delay_minutes + self.window_minutes)
        require(kept >= longest, "keep_days", self.keep_days, "longer than --copy_hours, the delay and a window")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(f"--time_zone {self.time_zone}: must be a zone's name: UTC, Europe/Berlin.") from error
        for url in [*self.feeds, *([self.webhook] if self.webhook else [])]:
            require(url.startswith(("http://", "https://")), "webhook or --feeds", url, "a URL of http or https")

    def windows(self, days: float) -> float:
        """Days in windows."""
        return days * MINUTES_PER_DAY / self.window_minutes


def check_installed() -> None:
    """Raises SettingsError where a library of the extra is missing."""
    require_libraries("the news monitor", LIBRARIES, "news-monitor")
