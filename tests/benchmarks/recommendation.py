"""Recommendation on real events: films and games, by time; an answer among 100,000 items; 100,000 events to learn from.

    python tests/benchmarks/recommendation.py                              # all parts; hours on two cores
    python tests/benchmarks/recommendation.py --only movielens --more --num_train_epochs 1

Each of the first two parts is a run of recipes/recommend.py in a folder of its own below --folder; its scores are kept
there, and the part is left out the next time. Parts:

    movielens   likes are ratings from 4 on; the last 20 % of the ratings by one global time are the test, all 9,742
                films are ranked, and those without a plot are a slice of their own
    games       Amazon's video games: the given last item of each test user, among its 20 fixed candidates and the item
                itself (sampled), and among all 16,859
    latency     one answer among --stored items, p50 and p95, with the ranker: by a history, by a user's events, by
                wishes, with filters and diversity
    training    seconds for the towers to learn from --events events of MovieLens, and how often items are encoded

Each is compared with popularity, item-kNN, BM25 on the history, implicit's ALS, full fine-tuning and the frozen base,
with intervals over users and paired tests. Prints a table of nDCG@10 for each slice, and one JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bench
import numpy as np

PARTS = ("movielens", "games", "latency", "training")
MOVIELENS, GAMES = "rec_movielens_small", "rec_amazon_games"
COMPARED = ("--compared_methods", "full", "head", "--als")
WORDS = 2000
"""Different words of the made-up items of `latency`."""
ROUNDS = 200


def main() -> None:
    """Run the parts that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*PARTS], choices=PARTS)
    parser.add_argument("--data", default=str(bench.DATA), help="folder of the sets")
    parser.add_argument("--folder", default="runs/recommendation_benchmark", help="kept, and taken up again")
    parser.add_argument("--base", default="minilm", help="alias (minilm, e5), or a folder")
    parser.add_argument("--users", type=int, help="test users of games at most, for a try")
    parser.add_argument("--stored", type=int, default=100_000, help="items of latency")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="answers of each kind in latency")
    parser.add_argument("--events", type=int, default=100_000, help="of training")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="flags of the recipe")
    given = parser.parse_args()
    data = Path(bench.dataset(given.data))
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "movielens": lambda: of_recipe("movielens", movielens, data / MOVIELENS, given, *COMPARED),
        "games": lambda: of_recipe("games", games, data / GAMES, given, *COMPARED),
        "latency": lambda: latency(given),
        "training": lambda: of_recipe("training", training, data / MOVIELENS, given),
    }
    found = {part: made[part]() for part in given.only}
    print(table({part: one for part, one in found.items() if "slices" in one}))
    print(json.dumps({"benchmark": "recommendation", "base": given.base, "parts": found}))


def of_recipe(
    part: str,
    write: Callable[[Path, Path, argparse.Namespace], list[str]],
    data: Path,
    given: argparse.Namespace,
    *words: str,
) -> dict[str, Any]:
    """The scores of a part's run: those that are there, or those of a run now."""
    bench.dataset(data)
    folder = Path(given.folder).absolute() / f"{part}_{Path(given.base).name}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "run" / "scores.json").is_file():
        flags = write(data, folder, given)
        own = ["--model_name_or_path", given.base, "--output_dir", str(folder / "run"), *words, *flags, *given.more]
        own.append("--overwrite_output_dir")
        bench.command("recipes/recommend.py", *own, environment=bench.environment())
    found: dict[str, Any] = json.loads((folder / "run" / "scores.json").read_text())
    return found


# data -----------------------------------------------------------------------------------------------------------------


def movielens(data: Path, folder: Path, given: argparse.Namespace) -> list[str]:
    """Items with titles, genres, plots and the year of the title; the ratings as they are."""
    plots = {str(one["movieId"]): one["overview"] for one in lines(data / "overviews.jsonl")}
    items = []
    with (data / "movies.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            title, year = row["title"].strip(), row["title"].strip()[-5:-1]
            tags = [tag for tag in row["genres"].split("|") if tag[0] != "("]
            item = {"item_id": row["movieId"], "title": title, "tags": tags}
            item |= {"overview": plots.get(row["movieId"], ""), "has_plot": row["movieId"] in plots}
            items.append({**item, "published": f"{year}-01-01" if year.isdigit() else None})
    write(folder / "items.jsonl", items)
    flags = ["--items_file", str(folder / "items.jsonl"), "--events_file", str(data / "ratings.csv")]
    return [*flags, "--min_rating", "4", "--slice_column_name", "has_plot"]


def games(data: Path, folder: Path, given: argparse.Namespace) -> list[str]:
    """Titles; whole histories of other users and those of the test users before their last item; the test's cases.

    There are no times: an event's is its place before the end of its history, so that dev has the last ones.
    """
    with (data / "items.tsv").open(encoding="utf-8", newline="") as stream:
        rows = [line.rstrip("\r\n").split("\t", 1) for line in stream][1:]
    write(folder / "items.jsonl", ({"item_id": id, "title": title} for id, title in rows))
    cases = list(lines(data / "test_users_6000.jsonl"))[: given.users]
    with (data / "train_users_8000.tsv").open(encoding="utf-8") as stream:
        whole = {f"t{line.split()[0]}": line.split()[1:] for line in [*stream][1:]}
    whole |= {str(case["user"]): [*map(str, case["history"])] for case in cases}
    events = (
        {"user": user, "item": item, "time": place - len(history)}
        for user, history in whole.items()
        for place, item in enumerate(history)
    )
    write(folder / "events.jsonl", events)
    write(folder / "cases.jsonl", cases)
    names = {"items_file": "items.jsonl", "events_file": "events.jsonl", "test_file": "cases.jsonl"}
    return [word for flag, name in names.items() for word in (f"--{flag}", str(folder / name))]


def training(data: Path, folder: Path, given: argparse.Namespace) -> list[str]:
    """MovieLens's ratings, all of them signs of interest, and no more than what is to be learned from."""
    flags = [word for word in movielens(data, folder, given) if word not in ("--min_rating", "4")]
    share = ["--test_percentage", "1", "--dev_percentage", "1"]
    return [*flags, *share, "--max_train_events", str(given.events), "--max_events_per_user", "100000"]


def lines(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSONL file."""
    with path.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as JSONL."""
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


# latency --------------------------------------------------------------------------------------------------------------


def latency(given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of answers among made-up items with random vectors, as wide as the base's."""
    from adapters.applications.recommendation.recommender import Request

    with tempfile.TemporaryDirectory() as folder:
        return timed(made_up(Path(folder), given), Request, given)


def timed(recommender: Any, request_of: Any, given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a recommender's answers to requests of each kind."""
    ids = [item.id for item in recommender.catalogue.items]
    draw = np.random.default_rng(0)
    kinds: dict[str, Callable[[int], dict[str, Any]]] = {
        "a history of 20": lambda n: {"history": tuple(draw.choice(ids, 20, replace=False).tolist())},
        "a user's events": lambda n: {"user": str(n % 50)},
        "wishes": lambda n: {"wishes": f"word{n % WORDS} word{7 * n % WORDS}"},
        "a tag": lambda n: {"user": str(n % 50), "tags": ("tag1",)},
        "diversity": lambda n: {"user": str(n % 50), "diversity": 0.5},
    }
    found: dict[str, Any] = {"items": len(ids)}
    for name, of in kinds.items():
        seconds = []
        for number in range(given.rounds + 3):
            request = request_of(**of(number))
            begin = time.perf_counter()
            answer = recommender.recommend(request)
            seconds.append(time.perf_counter() - begin)
            assert len(answer["items"]) == request.number
        warm = 1000 * np.array(seconds[3:])
        found[name] = {"p50": round(float(np.median(warm)), 2), "p95": round(float(np.percentile(warm, 95)), 2)}
    return found


def made_up(folder: Path, given: argparse.Namespace) -> Any:
    """A recommender of items with random vectors and texts, a ranker of random targets, and the real base."""
    from adapters.applications.base.vectors import normalized
    from adapters.applications.recommendation.behaviour import Behaviour, cooccurrence
    from adapters.applications.recommendation.catalogue import Catalogue, Item
    from adapters.applications.recommendation.events import Events
    from adapters.applications.recommendation.ranker import Ranker
    from adapters.applications.recommendation.recommender import Recommender
    from adapters.applications.recommendation.signals import FEATURES, Signals
    from adapters.applications.recommendation.store import Event, Store
    from adapters.applications.recommendation.towers import UserTower
    from adapters.serving.bank.bank import AdapterBank

    draw = np.random.default_rng(0)
    bank = AdapterBank(given.base)
    hidden = int(bank.base.config.hidden_size)
    words = draw.integers(0, WORDS, (given.stored, 12))
    items = [
        Item(id=str(n), text=" ".join(f"word{w}" for w in own), title=f"item {n}", tags=(f"tag{n % 20}",), price=n % 50)
        for n, own in enumerate(words)
    ]
    liked = draw.integers(0, given.stored, 100_000).tolist()
    events = Events.of((str(n % 5000), item, float(n), True) for n, item in enumerate(liked))
    store = Store(folder / "events.db")
    store.add_events(Event(user=str(n % 5000), item=str(item), time=float(n)) for n, item in enumerate(liked))
    user = UserTower(hidden, 8, 30).eval()
    signals = Signals(
        catalogue=Catalogue(items),
        vectors=normalized(draw.standard_normal((given.stored, hidden)).astype(np.float32)),
        weights=draw.standard_normal(given.stored).astype(np.float32),
        user=user,
        temperature=0.07,
        behaviour=Behaviour.empty(10_000.0, cooccurrence(events, given.stored)),
        trained=given.stored,
    )
    groups = [(draw.standard_normal((600, len(FEATURES))), draw.random(600) < 0.05) for _ in range(50)]

    def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return normalized(bank.embed(texts)), np.zeros(len(texts), np.float32)

    ranker = Ranker.learned(groups, 0)
    assert ranker.booster is not None
    return Recommender(signals, ranker, encode, store, retrieved=200)


def table(found: Mapping[str, Any]) -> str:
    """nDCG@10 of each system on each slice, as Markdown."""
    out = []
    for part, result in found.items():
        slices = result["slices"]
        names = [one["name"] for one in next(iter(slices.values()))["systems"]] if slices else []
        out += [f"| {part}, nDCG@10 | {' | '.join(slices)} |", "|---|" + "---|" * len(slices)]
        for place, name in enumerate(names):
            cells = [f"{100 * one['systems'][place]['nDCG@10']['value']:.1f}" for one in slices.values()]
            out.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(out)


if __name__ == "__main__":
    main()
