"""The news monitor's alarms on streams of known truth, compared with other detectors; what survives kill -9; memory.

    python tests/benchmarks/news_monitor.py                            # all parts; an hour or two on two cores
    python tests/benchmarks/news_monitor.py --only stable power peers --months 200

Parts:

    stable    false alarms a month of streams in which nothing changes, at one a month stated: a level alone; days and
              hours that differ; shares that are more spread than chance; ten topics together; few items; slow drift
    power     the share of surges found within one window, by items a window and by strength, at one false alarm a
              month; and where the classifier errs (--sensitivity, --specificity)
    peers     the same surges with river's ADWIN and Page-Hinkley, and a threshold on the share of a window, each
              tuned to as many false alarms on streams of its own; on a level stream and on one with days and hours
    gold      gold headlines by date, with their own labels: alarms at 0.1 a month in windows of a
              week, and surges injected at drawn times
    reuters   Reuters' articles at their own times, with drawn labels: the same at one a month in windows of six hours
    kills     kill -9 at drawn moments of reading: no item lost or counted twice, no alarm lost
    memory    peak memory after a tenth of --items items and after all
    headlines real headlines, each once, read by a sentiment and a topic adapter of LoRA on --base from end to end:
              headlines a minute (the adapters are trained for two steps: speed is all that is asked of them)
    articles  the same of Reuters' articles

Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
import numpy as np
import psutil

from adapters.applications.news_monitor.baseline import When
from adapters.applications.news_monitor.detector import AlarmDetector, Plan

MONTH = 720
"""Windows of an hour in 30 days."""
LEARNING = 168
BASE = 0.2
PARTS = ("stable", "power", "peers", "gold", "reuters", "kills", "memory", "headlines", "articles")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How a made-up stream varies where nothing changes.

    Attributes:
        volume: items a window, on average.
        daily, weekly: of the share, in logits, over hours and weekdays; the volume varies by half with the hour.
        spread: precision of the share from window to window; 0: none but chance.
        drift: standard deviation of the level's daily step, in logits.
        topics: of one stream.
    """

    volume: float = 60
    daily: float = 0.0
    weekly: float = 0.0
    spread: float = 0.0
    drift: float = 0.0
    topics: int = 1


STABLE: Mapping[str, Stream] = {
    "level": Stream(),
    "days and hours": Stream(daily=0.7, weekly=0.3),
    "more spread than chance": Stream(spread=80),
    "slow drift": Stream(drift=0.02),
    "ten topics": Stream(topics=10),
    "ten items a window": Stream(volume=10),
}


def when(number: int) -> When:
    """Of a window of an hour."""
    return When(number=number, hour=number % 24, day=number // 24 % 7)


def plan(rate: float = 1.0) -> Plan:
    """The defaults, at a rate a month."""
    return Plan(rate=rate / MONTH, memory=28 * 24, learning=LEARNING)


class Draws:
    """Windows of streams: `next` gives the shares and the numbers of items, by series."""

    def __init__(self, stream: Stream, series: int, seed: int) -> None:
        self.stream, self.series = stream, series
        self.draw = np.random.default_rng(seed)
        self.level = np.full(series, np.log(BASE / (1 - BASE)))

    def next(self, number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(share, items) of a window."""
        own = self.stream
        if own.drift and number % 24 == 0:
            self.level = self.level + self.draw.normal(0, own.drift, self.series)
        phase = np.sin(2 * np.pi * (number % 24) / 24)
        week = np.sin(2 * np.pi * (number // 24 % 7) / 7)
        share = 1 / (1 + np.exp(-(self.level + own.daily * phase + own.weekly * week)))
        if own.spread:
            share = self.draw.beta(share * own.spread, (1 - share) * own.spread)
        volume = own.volume * (1 + 0.5 * phase * bool(own.daily))
        return share, self.draw.poisson(volume, self.series)


def stable(months: int, seed: int, only: list[str] | None = None) -> list[dict[str, Any]]:
    """False alarms a month of each kind of stable stream, after a week of learning."""
    found = []
    for name, stream in STABLE.items():
        if only and name not in only:
            continue
        streams = min(100, months)
        series = streams * stream.topics
        draws, detector = Draws(stream, series, seed), AlarmDetector(plan(), series, streams)
        rows, by_month = np.arange(series), []
        windows = LEARNING + MONTH * max(months // streams, 1)
        for number in range(windows):
            share, n = draws.next(number)
            seen = detector.window(rows, n, draws.draw.binomial(n, share), when(number))
            if number >= LEARNING:
                by_month.append(seen.raised.sum())
        simulated = streams * (windows - LEARNING) / MONTH
        first = float(sum(by_month[:MONTH])) / streams
        found.append(
            {
                "stream": name,
                "months": round(simulated),
                "alarms a month": round(float(sum(by_month)) / simulated, 4),
                "in the first month": round(first, 4),
                "standard error": round(float(np.sqrt(sum(by_month))) / simulated, 4),
            }
        )
        print(found[-1], file=sys.stderr, flush=True)
    return found


def learned(stream: Stream, series: int, seed: int, days: int = 28) -> tuple[AlarmDetector, Draws]:
    """A detector after this number of days, each series with a budget of its own."""
    draws, detector = Draws(stream, series, seed), AlarmDetector(plan(), series, series)
    rows = np.arange(series)
    for number in range(days * 24):
        share, n = draws.next(number)
        detector.window(rows, n, draws.draw.binomial(n, share), when(number))
    return detector, draws


def seen_share(share: np.ndarray[Any, Any] | float, rates: tuple[float, float]) -> Any:
    """The share that a classifier of this sensitivity and specificity reads as negative."""
    return share * rates[0] + (1 - share) * (1 - rates[1])


def power(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Shares of surges found within their window, at each hour of the day after 28."""
    found = []
    for volume in args.volumes:
        detector, _ = learned(Stream(volume=volume), args.streams, args.seed)
        erring = learned_erring(volume, args)
        for strength in args.strengths:
            own = {"items": volume, "strength": strength}
            for name, base, rates in (("right", detector, (1.0, 1.0)), ("erring", erring, errors(args))):
                share = seen_share(min(BASE * strength, 1.0), rates)
                own[f"found, {name} classifier"] = round(surges(base, volume, share, args.seed), 4)
            found.append(own)
            print(own, file=sys.stderr, flush=True)
    return found


def errors(args: argparse.Namespace) -> tuple[float, float]:
    """The rates of the classifier that errs."""
    return args.sensitivity, args.specificity


def learned_erring(volume: int, args: argparse.Namespace) -> AlarmDetector:
    """A detector on a classifier with errors."""
    detector, draw = AlarmDetector(plan(), args.streams, args.streams), np.random.default_rng(args.seed)
    rows, share = np.arange(args.streams), seen_share(BASE, errors(args))
    for number in range(28 * 24):
        n = draw.poisson(volume, args.streams)
        detector.window(rows, n, draw.binomial(n, share), when(number))
    return detector


def surges(detector: AlarmDetector, volume: int, share: float, seed: int) -> float:
    """The share of the series that raise an alarm in the window of a surge, at each hour of a day."""
    draw, rows = np.random.default_rng(seed + 1), np.arange(len(detector.open))
    closed = copy.deepcopy(detector)
    closed.open[:] = False
    raised = []
    for hour in range(24):
        n = np.full(len(rows), volume)
        trial = copy.deepcopy(closed)
        trial.last = closed.last + hour  # the budget accrues for one window, not for those of the hours between
        raised.append(trial.window(rows, n, draw.binomial(n, share), when(closed.last + 1 + hour)).raised.mean())
    return float(np.mean(raised))


# peers ----------------------------------------------------------------------------------------------------------------

Detect = Callable[[int, int], bool]
"""Of a window's items and negative ones, in a drawn order, whether it is an alarm."""


def adwin(setting: float, seed: int) -> Detect:
    """ADWIN over the items; an alarm where the mean has risen. Setting: delta."""
    from river.drift import ADWIN

    detector, draw = ADWIN(delta=setting, clock=32), random.Random(seed)

    def detect(n: int, k: int) -> bool:
        found = False
        for flag in shuffled(n, k, draw):
            before = detector.estimation
            detector.update(flag)
            found |= detector.drift_detected and detector.estimation > before
        return found

    return detect


def page_hinkley(setting: float, seed: int) -> Detect:
    """Page and Hinkley's test over the items, upwards. Setting: its threshold."""
    from river.drift import PageHinkley

    detector, draw = PageHinkley(threshold=setting, delta=0.05, mode="up"), random.Random(seed)

    def detect(n: int, k: int) -> bool:
        found = False
        for flag in shuffled(n, k, draw):
            detector.update(flag)
            found |= detector.drift_detected
        return found

    return detect


def threshold(setting: float, seed: int) -> Detect:
    """An alarm where the window's share is above the setting."""
    return lambda n, k: n > 0 and k / n > setting


PEERS: Mapping[str, tuple[Callable[[float, int], Detect], float, float]] = {
    "ADWIN": (adwin, -40.0, -0.01),
    "Page-Hinkley": (page_hinkley, 1.0, 7.0),
    "threshold on the share": (threshold, float(np.log(BASE)), 0.0),
}
"""What makes each, and between which logarithms its setting is looked for: from no alarms to many, or back."""


def shuffled(n: int, k: int, draw: random.Random) -> list[int]:
    """A window's flags in a drawn order."""
    flags = [1] * k + [0] * (n - k)
    draw.shuffle(flags)
    return flags


def windows_of(stream: Stream, count: int, seed: int) -> Iterator[tuple[int, int]]:
    """(items, negative) of windows of one stream."""
    draws = Draws(stream, 1, seed)
    for number in range(count):
        share, n = draws.next(number)
        yield int(n[0]), int(draws.draw.binomial(n, share)[0])


def rate(make: Callable[[float, int], Detect], setting: float, stream: Stream, months: int, seed: int) -> float:
    """Alarms a month on a stable stream, after a week. Windows that follow an alarm's belong to it."""
    detect, alarms, before = make(setting, seed), 0, False
    for number, (n, k) in enumerate(windows_of(stream, LEARNING + months * MONTH, seed)):
        found = detect(n, k)
        alarms += found and not before and number >= LEARNING
        before = found
    return alarms / months


def tuned(name: str, stream: Stream, months: int, seed: int, steps: int) -> float:
    """The most sensitive setting with at most one alarm a month."""
    make, low, high = PEERS[name]
    wary = rate(make, float(np.exp(low)), stream, 1, seed) > 1  # which end raises more
    for _ in range(steps):
        middle = (low + high) / 2
        many = rate(make, float(np.exp(middle)), stream, months, seed) > 1
        low, high = (middle, high) if many == wary else (low, middle)
    return float(np.exp(high if wary else low))


def peers(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The share of tripled negative shares that each finds within the window, at 60 items."""
    found = []
    for kind in ("level", "days and hours"):
        stream = STABLE[kind]
        detector, _ = learned(stream, args.streams, args.seed)
        odds = Stream(volume=60, daily=stream.daily, weekly=stream.weekly)
        for strength in args.peer_strengths:
            ours = surges_of(detector, odds, strength, args)
            found.append({"stream": kind, "strength": strength, "system": "news monitor", "found": ours})
        for name, (make, _, _) in PEERS.items():
            setting = tuned(name, stream, args.peer_months, args.seed, args.peer_steps)
            alarms = rate(make, setting, stream, args.peer_months, args.seed + 7)
            for strength in args.peer_strengths:
                hits = [
                    hit(make, setting, stream, strength, args.seed + 100 + trial) for trial in range(args.peer_trials)
                ]
                own = {"stream": kind, "strength": strength, "system": name, "found": float(np.mean(hits))}
                found.append({**own, "setting": setting, "alarms a month, on others": alarms})
            print(found[-1], file=sys.stderr, flush=True)
    return found


def surges_of(detector: AlarmDetector, stream: Stream, strength: float, args: argparse.Namespace) -> float:
    """As `surges`, with each hour's own share multiplied."""
    rows, raised = np.arange(len(detector.open)), []
    closed = copy.deepcopy(detector)
    closed.open[:] = False
    draws = Draws(stream, len(rows), args.seed + 2)
    for hour in range(24):
        number = closed.last + 1 + hour
        share, _ = draws.next(number)
        n = np.full(len(rows), 60)
        trial = copy.deepcopy(closed)
        trial.last = number - 1
        k = draws.draw.binomial(n, np.minimum(share * strength, 1.0))
        raised.append(trial.window(rows, n, k, when(number)).raised.mean())
    return round(float(np.mean(raised)), 4)


def hit(make: Callable[[float, int], Detect], setting: float, stream: Stream, strength: float, seed: int) -> bool:
    """Whether a detector finds a surge of 60 items after 28 days, at a drawn hour."""
    detect, count = make(setting, seed), 28 * 24 + seed % 24
    for n, k in windows_of(stream, count, seed):
        detect(n, k)
    share, _ = Draws(stream, 1, seed + 1).next(count)
    return detect(60, int(np.random.default_rng(seed).binomial(60, min(float(share[0]) * strength, 1.0))))


# the monitor whole ----------------------------------------------------------------------------------------------------


def write_items(path: Path, rows: Iterator[dict[str, Any]]) -> Path:
    """Items as JSONL."""
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row) + "\n")
    return path


def made_up(count: int, seed: int, surge: tuple[int, int] | None = None) -> Iterator[dict[str, Any]]:
    """Items a minute apart, with recorded predictions; three of four are negative in the minutes of a surge."""
    draw = random.Random(seed)
    for number in range(count):
        high = surge is not None and surge[0] <= number < surge[1]
        words = " ".join(f"{draw.getrandbits(40):x}" for _ in range(6))
        yield {
            "id": f"n{number}",
            "time": 1_600_000_000 + 60 * number,
            "text": words,
            "source": f"wire {draw.randrange(8)}",
            "sentiment": "negative" if draw.random() < (0.75 if high else BASE) else "neutral",
            "topics": [f"topic {draw.randrange(5)}"],
        }


def reading(path: Path, folder: Path, *flags: str) -> Any:
    """A started process that replays a file."""
    words = ("-m", "adapters", "news_monitor", "--replay", str(path), "--output_dir", str(folder), *flags)
    return bench.started(*words, log=folder.with_suffix(".log"), environment=dict(os.environ))


def ended(process: Any, folder: Path) -> None:
    """Wait for it. Where it failed, the benchmark ends with what it said."""
    if process.wait():
        raise SystemExit(f"the replay into {folder} failed:\n{folder.with_suffix('.log').read_text()[-3000:]}")


def kills(args: argparse.Namespace) -> dict[str, Any]:
    """Read a file with kill -9 at drawn moments, and compare with a reading that was not stopped."""
    from adapters.applications.news_monitor.store import Store

    draw, killed = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_items(folder / "news.jsonl", made_up(args.kill_items, args.seed, (9000, 9180)))
        flags = ["--learning_days", "3", "--batch_items", "16"]
        ended(reading(path, folder / "whole", *flags), folder / "whole")
        target = folder / "killed"
        while killed < args.kills:
            process = reading(path, target, *flags)
            goal = stored(target) + draw.randrange(max(args.kill_items // args.kills, 2))
            while process.poll() is None and stored(target) < goal:
                time.sleep(0.002)
            if process.poll() is not None:
                break
            process.kill()
            process.wait()
            killed += 1
        ended(reading(path, target, *flags), target)
        stores = [Store(folder / one / "monitor.db") for one in ("whole", "killed")]
        items, windows, alarms, events = (
            [one._rows(query) for one in stores]
            for query in (
                "SELECT id, status FROM items ORDER BY id",
                "SELECT * FROM windows ORDER BY series, window",
                "SELECT record FROM alarms ORDER BY id",
                "SELECT body FROM outbox ORDER BY number",
            )
        )
        return {
            "kills": killed,
            "items": len(items[0]),
            "alarms": len(alarms[0]),
            "the same items": items[0] == items[1],
            "the same windows": windows[0] == windows[1],
            "the same alarms and events": alarms[0] == alarms[1] and events[0] == events[1],
        }


def stored(folder: Path) -> int:
    """Items that a monitor has so far."""
    path = folder / "monitor.db"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM items").fetchone()[0])
    except sqlite3.OperationalError:  # the table is not made yet
        return 0
    finally:
        connection.close()


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Peak memory and items a minute of a tenth of the items and of all, with recorded predictions."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for count in (args.items // 10, args.items):
            path = write_items(Path(name) / f"{count}.jsonl", made_up(count, args.seed))
            begin = time.perf_counter()
            process, peak = reading(path, Path(name) / str(count)), 0
            while process.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    peak = max(peak, psutil.Process(process.pid).memory_info().rss)
                time.sleep(0.01)
            ended(process, Path(name) / str(count))
            rate_ = round(60 * count / (time.perf_counter() - begin))
            found[f"{count} items"] = {"peak MB": round(peak / 2**20), "items a minute": rate_}
            path.unlink()
    return found


def headlines(args: argparse.Namespace) -> dict[str, Any]:
    """Headlines a minute from the file to the report, read by two adapters."""
    texts: dict[str, None] = {}
    for file, name in (("finance_sentfin/SEntFiN.csv", "Title"), ("finance_gold_news/gold_news.csv", "headline")):
        path = args.data / file
        if not path.exists():
            raise SystemExit(f"No data at {path}. Give --data the folder of the sets.")
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                texts[next(value for key, value in row.items() if key.lower() == name.lower()).strip()] = None
    return read_by_adapters(args, [*texts])


def read_by_adapters(args: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    """Texts a minute from the file to the report, read by two adapters."""
    chosen = texts[: args.headlines]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = {"sentiment": ["negative", "neutral", "positive"], "topics": ["earnings", "deals", "prices", "people"]}
        flags = ["--model_name_or_path", args.base]
        for adapter, own in labels.items():
            rows = ({"text": text, "label": own[n % len(own)]} for n, text in enumerate(chosen[:64]))
            path = write_items(folder / f"{adapter}.jsonl", rows)
            run = folder / adapter
            words = ["recipes/lora_classification.py", "--train_file", str(path), "--max_train_steps", "2", *args.more]
            bench.command(*words, "--model_name_or_path", args.base, "--output_dir", str(run))
            flags += [f"--{adapter.removesuffix('s')}_adapter", str(run / "artifact")]
        draw = random.Random(args.seed)
        rows = (
            {"id": f"h{n}", "time": 1_600_000_000 + 2 * n, "text": text, "source": f"wire {draw.randrange(8)}"}
            for n, text in enumerate(chosen)
        )
        path = write_items(folder / "news.jsonl", rows)
        begin = time.perf_counter()
        ended(reading(path, folder / "run", *flags), folder / "run")
        seconds = time.perf_counter() - begin
        said = (folder / "run.log").read_text()
        reading_alone = float(re.search(r"lines in ([\d.]+) s", said)[1])  # type: ignore[index]
    words_ = sum(len(text.split()) for text in chosen) / len(chosen)
    return {
        "texts": len(chosen),
        "words, mean": round(words_, 1),
        "minutes": round(seconds / 60, 2),
        "a minute": round(60 * len(chosen) / seconds),
        "a minute, without the start": round(60 * len(chosen) / max(reading_alone, 0.1)),  # it is printed in tenths
    }


def articles(args: argparse.Namespace) -> dict[str, Any]:
    """Articles a minute, as of headlines: Reuters' titles with what the copy has of their bodies."""
    rows = [f"{row['title']}. {row['body']}".strip() for row in reuters_rows(args)]
    return read_by_adapters(args, [*dict.fromkeys(rows)])


def gold(args: argparse.Namespace) -> dict[str, Any]:
    """Gold headlines with their own labels, in windows of a week, at 0.1 false alarms a month."""
    path = args.data / "finance_gold_news" / "gold_news.csv"
    if not path.exists():
        raise SystemExit(f"No data at {path}. Give --data the folder of the sets.")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    names = {name.lower(): name for name in rows[0]}
    date, text, label = (names[one] for one in ("date", "headline", "price_sentiment"))
    items = [(seconds_of(row[date]), row[text], row[label]) for row in rows]
    plan_ = {"window_minutes": 7 * 24 * 60, "learning_days": 364, "memory_days": 364, "keep_days": 364}
    return surged_stream(args, items, 0.1, **plan_, longest_days=28)


def reuters(args: argparse.Namespace) -> dict[str, Any]:
    """Reuters' articles at their own times, with drawn labels of which a fifth is negative, in windows of six hours."""
    draw = random.Random(args.seed)
    items = [
        (seconds_of(row["date"]), row["title"], "negative" if draw.random() < BASE else "other")
        for row in reuters_rows(args)
    ]
    plan_ = {"window_minutes": 360, "learning_days": 14, "memory_days": 56, "keep_days": 56}
    return surged_stream(args, sorted(items), 1.0, least=20, **plan_)


def reuters_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The articles."""
    path = args.data / "finance_reuters21578" / "reuters_topics.jsonl"
    if not path.exists():
        raise SystemExit(f"No data at {path}. Give --data the folder of the sets.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def seconds_of(date: str) -> float:
    """Since 1970, of a date of UTC."""
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()


def surged_stream(
    args: argparse.Namespace, items: list[tuple[float, str, str]], stated: float, *, least: int = 1, **plan_: Any
) -> dict[str, Any]:
    """Alarms in a dated stream as it is, and with the negative share tripled in drawn windows of its second half.

    Args:
        args: `surges` windows are drawn.
        items: (time, text, label), in order.
        stated: false alarms a month.
        least: items of a window with a surge.
        plan_: further settings of the monitor.
    """
    from adapters.applications.news_monitor.monitor import IncomingItem, Monitor
    from adapters.applications.news_monitor.settings import NewsMonitorSettings
    from adapters.applications.news_monitor.store import Store
    from adapters.applications.news_monitor.understanding import RecordedPredictions

    long = 60 * plan_["window_minutes"]
    sizes = Counter(int(at // long) for at, _, _ in items)
    windows, draw = sorted(sizes), random.Random(args.seed)
    later = [one for one in windows[len(windows) // 2 :] if sizes[one] >= least]
    chosen = {"none": set(), "tripled": {*draw.sample(later, min(args.surges, len(later) // 4))}}
    share = sum(one[2] == "negative" for one in items) / len(items)
    lift = min(3 * share, 1.0)
    months = (windows[-1] - windows[len(windows) // 2]) * long / 2_592_000
    found: dict[str, Any] = {
        "items": len(items),
        "windows": len(windows),
        "months, 2nd half": round(months, 1),
    }
    for name, surged in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            settings = NewsMonitorSettings(
                replay="-", min_sources=1, quiet_windows=1, false_alarms_per_month=stated, **plan_
            )
            monitor = Monitor(settings, Store(Path(folder) / "dated.db"), RecordedPredictions(["negative"]))
            given = []
            for number, (at, body, said) in enumerate(items):
                if int(at // long) in surged and said != "negative" and draw.random() < (lift - share) / (1 - share):
                    said = "negative"
                row = {"id": str(number), "time": at, "text": body, "sentiment": said}
                given.append(IncomingItem(where=f"item:{number}", item=row))
            for begin in range(0, len(given), 200):
                monitor.take(given[begin : begin + 200])
            monitor.finish()
            raised = {int(datetime.fromisoformat(one["since"]).timestamp() // long) for one in monitor.alarms()}
            found[name] = {"alarms": len(raised), "surges": len(surged), "found": len(raised & surged)}
    return found


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=bench.DATA)
    parser.add_argument("--months", type=int, default=10_000, help="of each stable stream")
    parser.add_argument("--streams", type=int, default=100, help="in which surges are looked for")
    parser.add_argument("--volumes", type=int, nargs="+", default=[10, 20, 40, 60, 120, 240])
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.5, 2.0, 2.5, 3.0, 4.0])
    parser.add_argument("--sensitivity", type=float, default=0.85)
    parser.add_argument("--specificity", type=float, default=0.93)
    parser.add_argument("--peer_months", type=int, default=20)
    parser.add_argument("--peer_steps", type=int, default=12, help="of the search for a setting")
    parser.add_argument("--peer_trials", type=int, default=200)
    parser.add_argument("--peer_strengths", type=float, nargs="+", default=[2.0, 3.0])
    parser.add_argument("--surges", type=int, default=40, help="of gold and reuters, a quarter of the windows at most")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--kill_items", type=int, default=12_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--headlines", type=int, default=20_000, help="at most")
    parser.add_argument("--base", default="minilm", help="of the adapters that read headlines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further flags of the adapters' training")
    args = parser.parse_args()
    run: Mapping[str, Callable[[], Any]] = {
        "stable": lambda: stable(args.months, args.seed),
        "power": lambda: power(args),
        "peers": lambda: peers(args),
        "gold": lambda: gold(args),
        "reuters": lambda: reuters(args),
        "kills": lambda: kills(args),
        "memory": lambda: memory(args),
        "headlines": lambda: headlines(args),
        "articles": lambda: articles(args),
    }
    found = {name: run[name]() for name in PARTS if name in args.only}
    for name, own in found.items():
        print(f"\n## {name}\n\n{table(own if isinstance(own, list) else [own])}")
    print(json.dumps({"benchmark": "news_monitor", **found}))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *(f"| {' | '.join(str(row.get(name, '–')) for name in names)} |" for row in rows)])


if __name__ == "__main__":
    main()
