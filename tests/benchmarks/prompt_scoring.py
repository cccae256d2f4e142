"""How many examples a second known answers are scored for, beside lm-evaluation-harness on the same prompts and model.

    pip install -e ".[test]"
    python tests/benchmarks/prompt_scoring.py                       # everything: about an hour on two cores
    python tests/benchmarks/prompt_scoring.py --only zero --rounds 5
    python tests/benchmarks/prompt_scoring.py --only agreement       # fp32: the same likelihoods, the same answers
    python tests/benchmarks/prompt_scoring.py --only grid            # the lab's grid beside a run for each condition

Both sides get the same texts: ours through the predictor that recipes use, the harness (`HFLM.loglikelihood`) as pairs
of context and continuation, tokenising included on both sides. They take turns on one model in bf16 in one process. The
harness reads few examples where it is slow; batches of 8, 16 and 32 are tried and the quickest is compared, too. Prints
one JSON line last. Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bench
import numpy as np

WORDS = '[verbalizer]\n1 = "positive"\n0 = "negative"\n'
BARE = 'task = "classification"\nanswer = "label"\nquery = "Review: {{text}}\\nSentiment: "\n'
TOLD = BARE + 'instruction = "Say whether each review is positive or negative."\n'


@dataclass(frozen=True)
class Case:
    """A dataset, a number of shots, and how many examples each side reads in a round."""

    data: str
    prompt: str
    shots: int
    ours: int
    theirs: int
    asked: float
    """The ratio that was asked for."""


CASES = {
    "shots": Case("sst2", TOLD + WORDS, 16, 400, 32, 15.0),
    "labels": Case("banking77", "classification_few", 8, 64, 2, 50.0),
    "zero": Case("sst2", TOLD + WORDS, 0, 400, 128, 1.5),
    "bare": Case("sst2", BARE + WORDS, 0, 400, 128, 1.5),
}
BATCHES = (8, 16, 32)


def data_of(folder: str, name: str) -> str:
    """The folder of a dataset."""
    return bench.dataset(Path(folder) / name, "--folder")


class Side:
    """A case set up: our predictor, and the same prompts as the harness takes them."""

    def __init__(self, case: Case, model: Any, base: Any, folder: str) -> None:
        from adapters.core import arguments as flags
        from adapters.core.settings import CommonSettings, join
        from adapters.prompting import template
        from adapters.prompting.demonstrations import draw
        from adapters.prompting.prompt_predictor import PromptPredictor
        from adapters.tasks.base import examples
        from adapters.tasks.classification import Settings

        given = flags.parse(join(CommonSettings, Settings), {}, "", ["--dataset_name", data_of(folder, case.data)])
        self.task, data, _ = examples.read_splits("classification", given)
        self.examples = list(data["test"])
        name = case.prompt
        if "\n" in name:
            with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
                file.write(name)
            name = file.name
        self.prompt = template.load(name, self.task)
        self.predictor = PromptPredictor(
            model, base, self.task, self.prompt, draw(data["train"], case.shots, 0), max_new_tokens=8
        )
        self.words = [word for word, _ in self.task.choices(self.prompt.form)]

    def ours(self, number: int) -> np.ndarray:
        """Log-likelihoods `[examples, words]` of the first examples."""
        examples = self.examples[:number]
        fits = [self.predictor.fit(example) for example in examples]
        assert None not in fits
        return self.predictor.label_log_probs(examples, fits, []).words  # type: ignore[arg-type]

    def theirs(self, harness: Any, number: int) -> np.ndarray:
        """The same from the harness."""
        from lm_eval.api.instance import Instance

        head = self.predictor.instruction + "".join(self.predictor.shots)
        pairs = [(head + self.prompt.question(self.task, example), word)
                 for example in self.examples[:number] for word in self.words]  # fmt: skip
        asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
        found = harness.loglikelihood(asked, disable_tqdm=True)
        return np.array([score for score, _ in found]).reshape(number, -1)


def rate(read: Any, number: int) -> tuple[float, np.ndarray]:
    """Examples a second, and what was read."""
    begin = time.perf_counter()
    found = read(number)
    return number / (time.perf_counter() - begin), found


def harness_of(model: Any, base: Any, batch: int) -> Any:
    """lm-evaluation-harness around the same model."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=base.tokenizer, batch_size=batch)


def speed(name: str, case: Case, model: Any, base: Any, folder: str, rounds: int) -> dict[str, Any]:
    """The ratios of a case: to batches of 8, and to the harness's quickest."""
    side = Side(case, model, base, folder)
    harnesses = {batch: harness_of(model, base, batch) for batch in BATCHES}
    side.ours(16), side.theirs(harnesses[8], 1)

    def their_rate(batch: int) -> float:
        return rate(lambda number: side.theirs(harnesses[batch], number), case.theirs)[0]

    quick = {batch: their_rate(batch) for batch in BATCHES}
    best = max(quick, key=quick.__getitem__)
    mine, first, quickest = [], [quick[8]], [quick[best]]
    for _ in range(rounds):
        mine.append(rate(side.ours, case.ours)[0])
        first.append(their_rate(8))
        quickest.append(their_rate(best) if best != 8 else first[-1])
    ours, eight, top = (statistics.median(values) for values in (mine, first, quickest))
    found = {"case": name, "ours": round(ours, 2), "harness_8": round(eight, 3), "harness_best": round(top, 3),
             "best_batch": best, "ratio": round(ours / eight, 2), "ratio_best": round(ours / top, 2),
             "asked": case.asked}  # fmt: skip
    print(f"{name}: {case.shots} shots of {case.data}, {len(side.words)} labels: {ours:.2f} examples/s; the harness "
          f"{eight:.3f} (batch 8), {top:.3f} (batch {best}): {ours / eight:.1f} x and {ours / top:.1f} x "
          f"(asked: {case.asked} x)", flush=True)  # fmt: skip
    return found


def agreement(base: Any, folder: str, cases: Sequence[str], examples: int) -> dict[str, Any]:
    """In fp32: the largest difference of a log-likelihood, and how many answers differ."""
    model = base.load_generator().eval()
    harness, found = harness_of(model, base, 8), {}
    for name in cases:
        case = CASES[name]
        side, number = Side(case, model, base, folder), min(case.theirs, examples)
        mine, their = side.ours(number), side.theirs(harness, number)
        apart = int((mine.argmax(1) != their.argmax(1)).sum())
        found[name] = {"largest": float(np.abs(mine - their).max()), "examples": number, "answers_apart": apart}
        print(f"{name}, fp32, {number} examples x {len(side.words)} labels: at most "
              f"{found[name]['largest']:.1e} apart (asked: 1e-4), {apart} answers differ", flush=True)  # fmt: skip
    return found


def peak(name: str, who: str, folder: str, alias: str) -> None:
    """In a process of its own: read one case in bf16, and print MiB at the most and in between."""
    import psutil
    import torch

    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    base = open_base(alias)
    model = base.load_generator().to(torch.bfloat16).eval()
    case = CASES[name]
    side = Side(case, model, base, folder)
    harness = harness_of(model, base, 8) if who == "harness" else None
    with Peak(psutil.Process()) as most:
        number = min(case.theirs, len(side.examples))
        side.ours(number) if harness is None else side.theirs(harness, number)
    print(json.dumps({"peak_mib": most.mib}))


class Peak:
    """The most memory that a process held, sampled beside it, above what it held at first."""

    def __init__(self, process: Any) -> None:
        self.process = process

    def __enter__(self) -> Peak:
        import threading

        self.first = self.most = self.process.memory_info().rss
        self.done = threading.Event()

        def watch() -> None:
            while not self.done.wait(0.005):
                self.most = max(self.most, self.process.memory_info().rss)

        self.thread = threading.Thread(target=watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()
        self.mib = round((self.most - self.first) / 2**20, 1)


def memory(folder: str, base: str, cases: Sequence[str]) -> dict[str, Any]:
    """MiB above the loaded model, each side in a process of its own."""
    found: dict[str, Any] = {}
    for name in cases:
        for who in ("ours", "harness"):
            done = bench.command(__file__, "--peak", name, who, "--folder", folder, "--base", base)
            found.setdefault(name, {})[who] = json.loads(done.stdout.splitlines()[-1])["peak_mib"]
        print(f"{name}: {found[name]['ours']} MiB above the model; the harness {found[name]['harness']}", flush=True)
    return found


PROMPTS, SHOTS, SEEDS = ("classification_few", "classification_sentiment"), (0, 1, 4, 8), 3
CALIBRATIONS = ("none", "contextual", "batch", "domain", "channel")
"""100 conditions: two prompts, ten samples of the shots (one of none), five calibrations."""


def grid(folder: str, base: str, examples: int, shots: Sequence[int]) -> dict[str, Any]:
    """Seconds of the lab's grid on SST-2, beside those of one run a condition: a run is timed once for each kind."""
    data = ["--dataset_name", data_of(folder, "sst2"), "--model_name_or_path", base,
            "--max_eval_samples", str(examples), "--max_predict_samples", str(examples)]  # fmt: skip

    def seconds(recipe: str, *flags: str) -> float:
        with tempfile.TemporaryDirectory() as place:
            begin = time.perf_counter()
            bench.command(f"recipes/{recipe}.py", *data, "--output_dir", f"{place}/run", *flags)
            return time.perf_counter() - begin

    whole = seconds("prompt_lab", "--prompts", ",".join(PROMPTS), "--shots", ",".join(map(str, shots)), "--seeds",
                    str(SEEDS), "--calibration", ",".join(CALIBRATIONS))  # fmt: skip
    apart = 0.0
    for prompt in PROMPTS:
        for number in shots:
            for calibration, times in (("none", 4), ("channel", 1)):  # the other three take at least as long as none
                drawn = ["--method", "few_shot", "--shots", str(number)] if number else ["--method", "zero_shot"]
                once = seconds("prompt_classification", "--prompt", prompt, "--calibration", calibration, *drawn)
                apart += once * times * (SEEDS if number else 1)
    conditions = len(PROMPTS) * len(CALIBRATIONS) * sum(SEEDS if number else 1 for number in shots)
    print(f"grid of {conditions} conditions: {whole:.0f} s; as runs of their own {apart:.0f} s: a share of "
          f"{whole / apart:.3f} (asked: below 0.333)", flush=True)  # fmt: skip
    return {"grid_seconds": round(whole, 1), "apart_seconds": round(apart, 1), "share": round(whole / apart, 3)}


def main(argv: Sequence[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES, "agreement", "memory", "grid"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=str(bench.DATA), help="folder of the datasets")
    parser.add_argument("--base", default="smollm2", help="alias, or a folder")
    parser.add_argument("--examples", type=int, help="that each side reads in a round; of agreement 24, of the grid 50")
    parser.add_argument("--shots", type=int, nargs="*", default=SHOTS, help="of the grid")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if given.peak:
        return peak(*given.peak, given.folder, given.base)
    import torch

    from adapters.models.base_model import open_base, quiet_libraries

    quiet_libraries()
    only = given.only or [*CASES, "agreement", "memory", "grid"]
    base, found = open_base(given.base), []
    model = base.load_generator().to(torch.bfloat16).eval()
    cases = [name for name in CASES if name in only] or [*CASES]
    for name in cases:
        if name in only:
            case = CASES[name]
            case = replace(case, ours=given.examples or case.ours, theirs=given.examples or case.theirs)
            found.append(speed(name, case, model, base, given.folder, given.rounds))
    more = {"agreement": agreement(base, given.folder, cases, given.examples or 24)} if "agreement" in only else {}
    more |= {"memory": memory(given.folder, given.base, cases)} if "memory" in only else {}
    more |= {"grid": grid(given.folder, given.base, given.examples or 50, given.shots)} if "grid" in only else {}
    print(json.dumps({"benchmark": "prompt_scoring", "threads": torch.get_num_threads(), "speed": found, **more}))


if __name__ == "__main__":
    main()
