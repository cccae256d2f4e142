"""Trials of a bank that its tests run as a sample, and `tests/benchmarks/faults.py` in full."""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tiny
from damage import TEXTS, flipped

from adapters.core.errors import UserError
from adapters.serving.bank.bank import AdapterBank, Request

LONG = " ".join(TEXTS) + " " + " ".join(reversed(TEXTS))
"""Longer than some adapters' windows, so that what one of them cuts would show in another's answer."""
CROWD: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "lora-tags": ("lora", tiny.tagging, {"lora_r": 4}),
    "lora-class": ("lora", tiny.classifying, {"lora_r": 2, "max_length": 16}),
    "prefix-tags": ("prefix", lambda: tiny.tagging(("A",)), {"num_virtual_tokens": 5, "prefix_init": "random"}),
    "ia3-class": ("ia3", lambda: tiny.classifying(("a", "b", "c")), {}),
    "prompt-class": (
        "prompt_tuning",
        lambda: tiny.classifying(("x", "y", "z", "w")),
        {"num_virtual_tokens": 3, "prompt_init": "random", "max_length": 24},
    ),
    "head-tags": ("head", lambda: tiny.tagging(("D", "E")), {}),
    "head-class": ("head", lambda: tiny.classifying(("no", "yes")), {"max_length": 12}),
    "bottleneck-tags": ("bottleneck", lambda: tiny.tagging(("F", "G", "H")), {"bottleneck_size": 6}),
    "further": ("lora", lambda: tiny.classifying(("u", "v")), {"lora_r": 8}),
    "one": ("bottleneck", tiny.tagging, {"bottleneck_size": 4}),
    "other": ("lora", tiny.tagging, {"lora_r": 3}),
}
NAMES = tuple(CROWD)[:8]
"""Those that stay; `further` comes and goes, and `one` and `other` take turns under the name `swapped`."""


def crowd(root: Path, base: Any) -> dict[str, Path]:
    """The folders of all adapters of `CROWD`."""
    made = {}
    for seed, (name, (method, task, changes)) in enumerate(CROWD.items()):
        made[name] = tiny.adapter(root / name, method, base, task(), seed=seed, **changes)
    return made


# refusals -------------------------------------------------------------------------------------------------------------


def state(bank: AdapterBank) -> Any:
    """All that a load which fails must leave as it was."""
    cache = bank._cache
    pools = {f"{n}.{k}": pool for n, layer in bank.mixed.layers.items() for k, pool in layer.pools.items()}
    pools |= bank.mixed.token_pools
    return (
        bank.adapters(),
        sorted(cache.free_slots),
        sorted(one.name for one in cache.resident),
        dict(cache.aliases),
        {name: (len(pool.rows), len(pool.free), pool.used) for name, pool in pools.items()},
    )


def logits(bank: AdapterBank, name: str, texts: Sequence[str] = TEXTS) -> list[bytes]:
    """An adapter's answers to the bit."""
    from adapters.serving.bank.mixed_inference import _Row

    with bank.lease(name) as leased:
        resident = leased[name].resident
        examples = [resident.task.from_request({"text": text}, "0") for text in texts]
        rows = resident.task.encode(examples, bank._inference.tokenizer, resident.budget)
        answers = bank._inference._answers([_Row(resident, row, i) for i, row in enumerate(rows)])
    return [answer.tobytes() for answer in answers]


def accepts(bank: AdapterBank, folder: Path | str, **how: Any) -> bool:
    """Whether a folder is taken in (and let go again). Anything but a typed refusal is raised."""
    try:
        bank.load("tried", folder, **how)
    except UserError:
        return False
    bank.unload("tried")
    return True


def flip_bits(bank: AdapterBank, sound: Path, scratch: Path, count: int, seed: int = 0) -> list[str]:
    """Flip `count` bits, one at a time, anywhere in a folder, its card included; returns those that were accepted."""
    shutil.copytree(sound, scratch)
    files = {path: path.read_bytes() for path in sorted(scratch.rglob("*")) if path.is_file()}
    whole = [(path, byte) for path, data in files.items() for byte in range(len(data))]
    draw = random.Random(seed)
    accepted = []
    for _ in range(count):
        path, byte = draw.choice(whole)
        bit = byte * 8 + draw.randrange(8)
        path.write_bytes(flipped(files[path], bit))
        if accepts(bank, scratch):
            accepted.append(f"{path.name}: bit {bit}")
        path.write_bytes(files[path])
    assert accepts(bank, scratch), "the folder itself is sound"
    return accepted


def cut_files(bank: AdapterBank, sound: Path, scratch: Path, count: int | None, seed: int = 0) -> tuple[int, list[str]]:
    """Cut files of a folder at `count` lengths, or at every one; returns how many, and those that were accepted."""
    shutil.copytree(sound, scratch)
    files = {path: path.read_bytes() for path in sorted(scratch.rglob("*")) if path.is_file()}
    cuts = [(path, length) for path, data in files.items() for length in range(len(data))]
    if count is not None:
        cuts = random.Random(seed).sample(cuts, min(count, len(cuts)))
    accepted = []
    for path, length in cuts:
        path.write_bytes(files[path][:length])
        if accepts(bank, scratch):
            accepted.append(f"{path.name}: {length} bytes")
        path.write_bytes(files[path])
    return len(cuts), accepted


# threads --------------------------------------------------------------------------------------------------------------


def same(found: Any, wanted: Any) -> bool:
    """Whether two answers are the same but for the last digit of a probability."""
    if isinstance(wanted, float):
        return isinstance(found, float) and abs(found - wanted) < 1.5e-4
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict) and found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)


@contextmanager
def restless() -> Iterator[None]:
    """Within it threads take turns five hundred times as often, so that what can go wrong between them does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Storm:
    """Threads that ask a bank of few places, while another thread loads, unloads and reloads adapters in it."""

    def __init__(self, bank: AdapterBank, folders: dict[str, Path], *, threads: int = 8) -> None:
        """Answers one by one are noted before the threads begin."""
        self.bank, self.folders, self.threads = bank, folders, threads
        self.texts = [*TEXTS, LONG, LONG * 2]
        self.wanted: dict[tuple[str, str], Any] = {}
        for name, folder in folders.items():
            bank.load(name, folder)
            for text in self.texts:
                self.wanted[name, text] = bank.predict([Request(name, text)])[0]["output"]
            if name not in NAMES:
                bank.unload(name)
        bank.load("swapped", folders["one"])
        self.wrong: list[str] = []
        self.requests = self.changes = 0
        self.counting = threading.Lock()
        self.over = threading.Event()

    def run(self, requests: int, *, within: float) -> bool:
        """Ask so many; whether all threads ended in time."""
        deadline = time.monotonic() + within
        asking = [
            threading.Thread(target=self._kept, args=(self._ask, requests // self.threads, seed), daemon=True)
            for seed in range(self.threads)
        ]
        changing = threading.Thread(target=self._kept, args=(self._change,), daemon=True)
        with restless():
            for thread in (*asking, changing):
                thread.start()
            for thread in asking:
                thread.join(max(0.0, deadline - time.monotonic()))
            self.over.set()
            changing.join(max(5.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in (*asking, changing))

    def _kept(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:
            self.wrong.append(f"a thread died of {type(error).__name__}: {error}")

    def _ask(self, requests: int, seed: int) -> None:
        draw = random.Random(seed)
        while requests > 0:
            names = [draw.choice((*NAMES, "swapped", "further")) for _ in range(min(requests, draw.randint(1, 6)))]
            batch = [Request(name, draw.choice(self.texts)) for name in names]
            try:
                for request, found in zip(batch, self.bank.predict(batch), strict=True):
                    self._check(request, found)
            except Exception as error:  # none of them is answered
                self.wrong += [f"{request.adapter}: {type(error).__name__}: {error}" for request in batch]
            requests -= len(batch)
            with self.counting:
                self.requests += len(batch)

    def _check(self, request: Request, found: dict[str, Any]) -> None:
        name = str(request.adapter)
        if name == "further" and "No adapter is called" in found.get("error", ""):
            return
        if name == "swapped":
            name = "one" if found.get("version", 0) % 2 else "other"
        wanted = self.wanted[name, str(request.inputs)]
        if not same(found.get("output"), wanted):
            problem = found.get("error") or f"expected {wanted}, found {found.get('output')}"
            self.wrong.append(f"{request.adapter}: {problem}")

    def _change(self) -> None:
        draw = random.Random("changes")
        while not self.over.is_set():
            self.bank.load("further", self.folders["further"])
            self.bank.reload(draw.choice(NAMES))
            self.bank.reload("swapped", self.folders["other"])
            self.bank.alias("moving", draw.choice(NAMES))
            self.bank.reload("swapped", self.folders["one"])
            self.bank.unload("further")
            self.changes += 6
            time.sleep(0.002)


def rounds(bank: AdapterBank, folders: Iterable[Path], count: int) -> Iterator[tuple[int, int]]:
    """Load and evict, or load and unload, `count` times; after each the resident bytes and the rows of all pools."""
    import psutil

    process = psutil.Process()
    places = list(folders)
    for number, folder in enumerate(places):
        bank.load(f"n{number}", folder)
    for turn in range(count):
        number = turn % len(places)
        if turn % 10 == 9:
            bank.unload(f"n{number}")
            bank.load(f"n{number}", places[number])
        bank.predict([Request(f"n{number}", TEXTS[turn % len(TEXTS)])])
        pools = [pool for layer in bank.mixed.layers.values() for pool in layer.pools.values()]
        yield process.memory_info().rss, sum(len(pool.rows) for pool in (*pools, *bank.mixed.token_pools.values()))
