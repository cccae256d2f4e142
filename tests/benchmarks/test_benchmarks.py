"""Every benchmark runs, at its smallest size, on tiny models and made-up data."""

from __future__ import annotations

import importlib
import io
import itertools
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path

import forked
import pytest
import shop
import tiny
from conftest import REPOSITORY, build_tiny_bert, call_recipe, forget_accelerate, write_tagged

from adapters.cli.main import main

HERE = Path(__file__).parent
PARTS = {"__main__", "bench", "load", "plain_server", "service_server"}
"""Scripts that are no benchmarks: others import or start them."""
RUN = "--max_train_steps 1 --max_eval_samples 4 --max_predict_samples 4 --mixed_precision no"
ON_BERT = f"--model_name_or_path {{bert}} {RUN}"
SMALLEST = {
    "compare": "--sentences 50",
    "continual": "--only domains --data {data} --strategies sequential adapter_per_task --trials 0 --seeds 1 --folder "
    f"{{data}}/continual --more {ON_BERT} --allow_unknown_tokens",
    "customer_service": "--only banking77_oos covid_faq large serving attack --data {data} --folder {data}/service "
    f"--base {{bert}} --stored 40 --seconds 0.1 --kills 1 --messages 20 --more {RUN} --allow_unknown_tokens "
    "--retriever base",
    "data": "--rows 1000 --rounds 1",
    "defaults": f"--sets conll2003 --methods lora --seeds 0 --data {{data}} --folder {{data}}/defaults --more "
    f"{ON_BERT}",
    "explain": "--base {bert} --data {data} --examples 2 --seeds 1 --rounds 1 --methods lora tfidf --folder "
    f"{{data}}/explained --more {RUN} --allow_unknown_tokens",
    "foreign_adapters": "--bases bert --methods LoRA",
    "faults": "--base {bert} --bit_flips 20 --lengths 10 --requests 40 --rounds 20 --sentences 20",
    "fewer_bits": f"--bases {{bert}} --bits 32 8 --more --dataset_name {{data}}/conll2003 {RUN}",
    "export": "--only speed quality start many --base {bert} --data {data} --conll {data}/conll2003 --folder "
    f"{{data}}/export --rounds 5 --passes 1 --starts 1 --more {RUN} --allow_unknown_tokens",
    "latency": f"--base {{bert}} --rounds 5 --commands 1 --more --dataset_name {{data}}/conll2003 {RUN}",
    "llama": "--tokenizer {llama} --data {data}/conll2003 --layers 1 --hidden 64 --tokens 64 --seconds 0.1 "
    "--adapters 2 --bits 16 --lengths 8 --rounds 1",
    "mixed_batch": "--base {bert} --causal {llama} --rounds 1 --adapters 10 --rows 4 --new_tokens 4",
    "ner": "--only wnut17 --data {data}/conll2003 --seeds 0 --recipes lora_ner --folder {data}/ner --more "
    f"{ON_BERT}",
    "news_monitor": "--only stable power peers gold reuters kills memory headlines --months 1 --streams 4 --volumes 20 "
    "--strengths 4 --peer_months 1 --peer_steps 2 --peer_trials 2 --peer_strengths 4 --surges 2 "
    "--kills 1 --kill_items 400 --items 400 --headlines 100 --base {bert} --data "
    f"{{data}} --more {RUN} --allow_unknown_tokens",
    "peft_methods": "--types LOHA VERA --bases bert --tasks tagging",
    "processes": f"--rounds 1 --steps 1 --recipes lora_ner --data {{data}}/conll2003 --base {{bert}} --more {RUN}",
    "prompt_scoring": "--only zero written agreement memory grid --base {llama} --folder {data} --rounds 1 "
    "--examples 4 --shots 0",
    "recommendation": "--data {data} --folder {data}/recommendation --base {bert} --stored 300 --rounds 2 --events 50 "
    "--more --max_train_steps 1 --mixed_precision no",
    "recipe_scores": "sst2 --bases {bert} --methods lora --seeds 1 --data {data} --folder {data}/scores --more "
    f"{RUN} --allow_unknown_tokens",
    "relations": "--base {bert} --seeds 1 --data {data}/re_conll04 --folder {data}/relations --more "
    f"{RUN} --allow_unknown_tokens",
    "resume": "--only tiny kills disk --recipes lora_ner --steps 2 --processes 1 --rounds 2",
    "repeats": "--methods tfidf --data {data}/sst2 --seeds 7 --examples 40 --splits 20 --resamples 50 --folder "
    "{data}/repeats",
    "routing": "--base {bert} --data {data}/clinc150 --texts 4 --rounds 1",
    "seeds": "--repeats 2 --conditions 1",
    "serving": "--base {bert} --rounds 1 --seconds 0.1 --requests 20 --clients 4 --texts 16",
    "tables": "sst2 --data {data} --folder {data}/tables --methods majority head few_shot --more --tuning_trials 0 "
    f"--prompt_model_name_or_path {{llama}} --seeds 1 {ON_BERT} --allow_unknown_tokens",
    "train_throughput": "--only lora shapes dry_run quality --rounds 1 --seconds 0.1 --seeds 1 --methods lora "
    f"--runs lora --base {{bert}} --data {{data}}/conll2003 --more {ON_BERT}",
    "tuning": "--data {data}/conll2003 --methods head --grid 3 --trials 3 --repeats 2 --folder {data}/tuning --more "
    "--model_name_or_path {bert} --mixed_precision no --num_train_epochs 1",
}
FILES = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("test_"))


def write_marked(data: Path) -> None:
    """Reviews and posts with spans that people marked."""
    (data / "explain_movies").mkdir()
    (data / "explain_toxic_spans").mkdir()
    for split, other in (("train", "train"), ("val", "trial"), ("test", "test")):
        reviews = [
            {"text": f"film {n} is {'good' if n % 2 else 'bad'} .", "label": "POS" if n % 2 else "NEG",
             "rationales": [[3, 4]]}
            for n in range(12)
        ]  # fmt: skip
        posts = [
            {"text": f"We met {n} times. You idiot!", "spans": [[len(f"{n}") + 18, len(f"{n}") + 23]]}
            for n in range(12)
        ]
        for folder, name, rows in (("explain_movies", split, reviews), ("explain_toxic_spans", other, posts)):
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (data / folder / f"{name}.jsonl").write_text(lines)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models, and a folder of datasets under the names that the benchmarks look for."""
    folder = tmp_path_factory.mktemp("benchmarks")
    data = folder / "data"
    for name in ("conll2003", "sst2"):
        (data / name).mkdir(parents=True)
    for name, size in (("train", 120), ("dev", 12), ("test", 12)):
        write_tagged(data / "conll2003" / f"{name}.conll", size)
        lines = "".join(f"{row % 2} a {'good' if row % 2 else 'bad'} film of {row}\n" for row in range(size))
        (data / "sst2" / f"stsa.binary.{name}").write_text(lines)
    write_marked(data)
    (data / "re_conll04").mkdir()
    for name, size in (("train", 40), ("dev", 12), ("test", 12)):
        sentences = [
            {
                "tokens": ["Ada", "lived" if row % 2 else "or", "in", "Oslo", str(row)],
                "entities": [[0, 1, "Peop"], [3, 4, "Loc"]],
                "relations": [[0, 1, "Live_In"]] if row % 2 else [],
            }
            for row in range(size)
        ]
        lines = "".join(json.dumps(sentence) + "\n" for sentence in sentences)
        (data / "re_conll04" / f"{name}.jsonl").write_text(lines)
    (data / "clinc150").mkdir()
    intents = {"home": ["lights", "music"], "travel": ["flights", "hotels"]}
    rows = [
        [f"{draw} the {intent} {draw}", intent] for draw in range(6) for each in intents.values() for intent in each
    ]
    splits = {"train": rows, "val": rows, "test": rows, "oos_test": [["who is it", "oos"]]}
    (data / "clinc150" / "data_full.json").write_text(json.dumps(splits))
    (data / "clinc150" / "domains.json").write_text(json.dumps(intents))
    write_service(data)
    write_shop(data)
    (data / "finance_gold_news").mkdir()
    days = [(day, datetime(2018, 1, 1) + timedelta(days=day)) for day in range(720)]
    lines = [f"{at:%Y-%m-%d},gold {day * 7919},{'negative' if day % 4 == 0 else 'positive'}" for day, at in days]
    (data / "finance_gold_news" / "gold_news.csv").write_text(
        "\n".join(["date,headline,price_sentiment", *lines]) + "\n"
    )
    (data / "finance_reuters21578").mkdir()
    told = [
        {"date": f"{datetime(1987, 3, 1) + timedelta(minutes=15 * n):%Y-%m-%dT%H:%M:%S}", "title": f"WHEAT {n * 7919}",
         "body": "Prices fell"}
        for n in range(2000)
    ]  # fmt: skip
    (data / "finance_reuters21578" / "reuters_topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    (data / "finance_sentfin").mkdir()
    (data / "finance_sentfin" / "SEntFiN.csv").write_text("S No.,Title,Decisions\n1,gold falls,{'gold': 'negative'}\n")
    return {"bert": build_tiny_bert(folder / "bert", layers=1), "llama": tiny.llama(folder / "llama"), "data": data}


def write_shop(data: Path) -> None:
    """The sets of recommendation."""
    films, games = data / "rec_movielens_small", data / "rec_amazon_games"
    for folder in (films, games):
        folder.mkdir()
    items, events = shop.items(), shop.events(users=60)
    number = {item["item_id"]: n for n, item in enumerate(items)}
    lines = [f"{n},{item['title']} (20{10 + n}),{item['tags'][0]}|Drama" for n, item in enumerate(items)]
    (films / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]) + "\n")
    plots = [{"movieId": n, "overview": f"about {item['title']}"} for n, item in enumerate(items[::2])]
    shop.write(films / "overviews.jsonl", plots)
    rated = [f"{row['user'][1:]},{number[row['item']]},{4 + n % 2}.0,{row['time']:.0f}" for n, row in enumerate(events)]
    (films / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rated]) + "\n")
    lines = [f"{n}\t{item['title']}" for n, item in enumerate(items)]
    (games / "items.tsv").write_text("\n".join(["item_id\ttitle", *lines]) + "\n")
    lines = [f"{user}\t{user % 24} {(user + 1) % 24} {(user + 2) % 24}" for user in range(20)]
    (games / "train_users_8000.tsv").write_text("\n".join(["user\thistory", *lines]) + "\n")
    cases = [{"user": n, "history": [n, n + 1], "target": n + 2, "candidates": [20, 21]} for n in range(6)]
    shop.write(games / "test_users_6000.jsonl", cases)


def write_service(data: Path) -> None:
    """The sets of customer service."""
    (data / "banking77_oos").mkdir()
    for split, each in (("train", 3), ("valid", 3), ("test", 2)):
        asked = [f"{split} {n} where is the {what}\t{what}" for n in range(each) for what in ("card", "shop")]
        for name, lines in (
            (split, asked),
            (f"id-oos.{split}", ["who is it\toos"]),
            (f"ood-oos.{split}", ["why\toos"]),
        ):
            (data / "banking77_oos" / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    (data / "support_faq").mkdir()
    answers = [json.dumps({"question": f"what is {n}", "answer": f"it is {n}"}) for n in range(8)]
    (data / "support_faq" / "covid_faq.jsonl").write_text("\n".join(answers) + "\n")
    pairs = [f"what is {n},tell {way} what {n} is,1" for n in range(8) for way in ("me", "us", "them")]
    header = "question_1,question_2,similar"
    (data / "support_faq" / "covid_question_similarity_en.csv").write_text("\n".join([header, *pairs]) + "\n")


@pytest.fixture
def clean_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a script changes of its process, put back; runs in this process, and other commands in forked ones."""
    import torch

    threads, path = torch.get_num_threads(), [*sys.path]
    monkeypatch.syspath_prepend(str(HERE))
    bench = importlib.import_module("bench")
    folders = (tmp_path / f"command{number}" for number in itertools.count())

    def command(*words: str, environment: object = None) -> subprocess.CompletedProcess[str]:
        if words[:2] == ("-m", "accelerate.commands.launch"):
            words = words[2:]
        if words[:4] == ("-m", "adapters", "launch", "--num_processes"):
            printed = forked.launched(int(words[4]), words[5:], next(folders))
            return subprocess.CompletedProcess([*words], 0, printed, "")
        if words[0] == "-c":
            if environment is None:  # what imports torch, which takes a process seconds
                return called(words, lambda: executed(words))
            done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
            return bench.checked(words, done)
        if words[:2] == ("-m", "adapters"):
            return called(words, lambda: main([*words[2:]]))
        if words[0].startswith("recipes/"):
            return called(words, lambda: call_recipe(REPOSITORY / words[0], [*words[1:]]))
        (folder := next(folders)).mkdir()
        done: subprocess.CompletedProcess[str] = bench.checked(words, forked.ended(words, folder))
        return done

    def started(*words: str, log: Path, environment: object) -> forked.Forked:
        return forked.Forked(words[2:] if words[:2] == ("-m", "adapters") else words, log.with_suffix(".out"), log)

    monkeypatch.setattr(bench, "command", command)
    monkeypatch.setattr(bench, "started", started)
    yield
    torch.set_num_threads(threads)
    sys.path[:] = path


def called(words: Sequence[str], function: Callable[[], int]) -> subprocess.CompletedProcess[str]:
    """What a command prints, run in this process."""
    forget_accelerate()
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = function()
    forget_accelerate()
    if code:
        raise SystemExit(f"{' '.join(words)} failed with {code}:\n{stderr.getvalue()[-3000:]}")
    return subprocess.CompletedProcess([*words], code, stdout.getvalue(), stderr.getvalue())


def executed(words: Sequence[str]) -> int:
    """Run Python's `-c CODE WORDS` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [words[0], *words[2:]])
        exec(compile(words[1], "-c", "exec"), {"__name__": "__main__"})
    return 0


def test_every_benchmark_is_run_here():
    assert len(SMALLEST) >= 13
    assert {*SMALLEST} == {*FILES} - PARTS


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALLEST))
@pytest.mark.filterwarnings("ignore")
def test_a_benchmark_runs_at_its_smallest_size(name, places, clean_process, runs_in_process, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *SMALLEST[name].format(**places).split()])
    try:
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    except SystemExit as stop:
        assert not stop.code, stop.code
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found.pop("benchmark") == name
    assert found
    measured = [value for value in found.values() if value not in ([], {}, None)]
    assert measured, found


@pytest.mark.parametrize(
    "name",
    [
        "train_throughput",
        "resume",
        "data",
        "defaults",
        "prompt_scoring",
        "routing",
        "customer_service",
        "news_monitor",
        "recommendation",
    ],
)
def test_a_benchmark_without_its_data_says_so_in_one_line(name, clean_process, monkeypatch, tmp_path, places):
    flags = {
        "train_throughput": ["--data", str(tmp_path / "none")],
        "resume": ["--only", "minilm", "--data", str(tmp_path / "none")],
        "data": ["--data", str(tmp_path / "none")],
        "routing": ["--data", str(tmp_path / "none")],
        "customer_service": ["--data", str(tmp_path / "none")],
        "news_monitor": ["--only", "gold", "--data", str(tmp_path / "none")],
        "recommendation": ["--data", str(tmp_path / "none")],
        "defaults": ["--sets", "sst2", "--data", str(tmp_path)],
        "prompt_scoring": ["--only", "grid", "--folder", str(tmp_path), "--base", str(places["llama"])],
    }
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags[name]])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    assert isinstance(stop.value.code, str) and stop.value.code.startswith(f"No data at {tmp_path}")
    assert "\n" not in stop.value.code
