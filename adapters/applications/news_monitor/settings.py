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
"""Settings on which the learned state depends: the folder records them."""


@dataclass(frozen=True, kw_only=True)
class NewsMonitorSettings:
    """A stream of news, how it is read, and when an alarm is raised."""

    input: str | None = None
    """File of items, one JSON object per line, that is followed as it grows; - is standard input."""
    feeds: list[str] = field(default_factory=list)
    """URLs of the RSS and Atom feeds to poll."""
    push: bool = False
    """Create the folder for a server that takes items over HTTP (`taskswap serve --application news_monitor=FOLDER`),
    and exit."""
    replay: str | None = None
    """File of a past period, which is read once, as fast as possible; then the report is written."""
    output_dir: str = "runs/news_monitor"
    """Folder of the monitor: its state, its log and its report."""
    overwrite_output_dir: bool = False
    """Delete the state in the folder and start from scratch."""
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
    """Entity types that are monitored. Default: all."""
    negative_labels: list[str] = field(default_factory=lambda: ["negative"])
    """Sentiment labels that count as negative."""
    labelled_file: str | None = None
    """File of labelled items (a column label), on which the classifier's error rates are estimated. Shares are then
    corrected for them."""
    device: str = "auto"
    """auto (cuda, mps or cpu), or the name of a device."""
    batch_items: int = 64
    """Maximum number of items in a batch, which is read and stored as one."""
    window_minutes: int = 60
    """Length of a window in minutes."""
    time_zone: str = "UTC"
    """IANA time zone of timestamps without one, and of the baseline's hours and weekdays, as in Europe/Berlin."""
    delay_minutes: float = 30.0
    """Maximum lateness of an item in minutes, relative to the newest one. A window is closed this long after its
    end."""
    ahead_minutes: float = 10.0
    """Tolerated clock skew in minutes: an item whose time is further ahead of this machine's clock is refused."""
    copy_similarity: float = 0.8
    """Minimum Jaccard similarity of two texts' five-character shingles at which the later one counts as a copy."""
    copy_hours: float = 48.0
    """Hours within which a near-duplicate counts as a copy."""
    max_item_bytes: int = 1_000_000
    """Maximum length of a line in bytes. Longer ones are refused, unread."""
    false_alarms_per_month: float = 1.0
    """Expected number of false alarms in 30 days, over all topics and entities together."""
    memory_days: float = 28.0
    """Half-life of an item's weight in the baseline, in days."""
    learning_days: float = 7.0
    """Warm-up in days before a new series (all, a topic or an entity) can raise an alarm."""
    quiet_windows: int = 2
    """Consecutive windows without an excess after which an alarm ends."""
    longest_days: float = 7.0
    """Maximum duration of an alarm in days. After it, the new level is taken as normal and learned from scratch."""
    min_sources: int = 2
    """Minimum number of sources of an alarm's negative items. With 2 or more, the excess must remain without the
    largest source."""
    max_series: int = 1000
    """Maximum number of series (all, topics and entities). Those that appear later are not monitored."""
    keep_days: float = 90.0
    """Retention of items, in days. Windows and alarms are kept."""
    poll_seconds: float = 300.0
    """Polling interval of feeds, in seconds."""
    webhook: str | None = None
    """URL to which alarms are posted as JSON, signed."""
    webhook_secret_file: str | None = None
    """File with the signing key. Default: TASKSWAP_WEBHOOK_SECRET in the environment."""

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
