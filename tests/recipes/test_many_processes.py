"""What is learnt does not hang on how many processes work, on how many machines, or how they share a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from conftest import REPOSITORY, build_tiny_bert, write_tagged
from test_processes import flags, scores

from adapters.cli import launch

pytestmark = pytest.mark.slow

MANY = "accelerate_configs/many_machines.yaml"
FSDP = "accelerate_configs/fsdp2.yaml"


def variables(config: str) -> dict[str, str]:
    """What `taskswap launch` sets for the processes of a config."""
    return launch._fsdp_variables(launch._read(config))


def alike(one: Path, other: Path, number: int, *, steps: int = 10) -> None:
    """Two runs of more than so many steps gave the same losses, dev scores and predictions."""
    first, second = scores(one), scores(other)
    assert (first["processes"], second["processes"]) == (1, number)
    assert first["training"]["steps"] == second["training"]["steps"] > steps
    for alone, shared in zip(first["training"]["dev_scores"], second["training"]["dev_scores"], strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert shared["score"] == pytest.approx(alone["score"], abs=1e-9)
    assert (one / "predictions.jsonl").read_text() == (other / "predictions.jsonl").read_text()
    assert first["quality"] == second["quality"]
    for name in ("trainable_params", "total_params"):
        assert first["cost"][name] == second["cost"][name]


def test_four_processes_with_fewer_examples_than_they_are_learn_what_one_does(
    tiny_bert: Path, run_recipe: Any, tmp_path: Path
) -> None:
    data = tmp_path / "few"
    data.mkdir()
    for name, size in (("train", 41), ("dev", 3), ("test", 2)):
        write_tagged(data / f"{name}.conll", size)
    small = ["--max_tokens_per_batch", "30", "--num_train_epochs", "1", "--learning_rate", "0.02"]
    assert run_recipe("lora_ner", *flags(tiny_bert, data, tmp_path / "one"), *small) == 0
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, data, tmp_path / "four"), *small]
    forked.launched(4, recipe, tmp_path / "logs")
    alike(tmp_path / "one", tmp_path / "four", 4, steps=5)


def test_a_model_in_parts_learns_what_a_whole_one_does_goes_on_alike_and_leaves_an_ordinary_artifact(
    tiny_bert: Path, tagged: Path, run_recipe: Any, tmp_path: Path
) -> None:
    from adapters.artifacts import loading

    rate = ["--learning_rate", "0.01"]

    def parts(out: str, *more: str) -> list[str]:
        return ["recipes/full_ner.py", *flags(tiny_bert, tagged, tmp_path / out), *rate, *more]

    assert run_recipe("full_ner", *flags(tiny_bert, tagged, tmp_path / "one"), *rate) == 0
    first = parts("parts", "--checkpointing_steps", "5", "--save_total_limit", "9")
    forked.launched(2, first, tmp_path / "first logs", **variables(FSDP))
    alike(tmp_path / "one", tmp_path / "parts", 2)
    again = parts("again", "--resume_from_checkpoint", str(tmp_path / "parts" / "checkpoints" / "step-00000005"))
    forked.launched(2, again, tmp_path / "logs", **variables(FSDP))
    for name in ("artifact/model.safetensors", "predictions.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    text = ["Kurt Curie lives in Oslo ."]
    answers = [loading.load(tmp_path / name / "artifact").answer(text) for name in ("one", "parts")]
    assert answers[0] == answers[1]


def test_adapters_beside_four_bits_learn_in_parts(tagged: Path, tmp_path: Path) -> None:
    base = build_tiny_bert(tmp_path / "bert", hidden=64)
    given = [*flags(base, tagged, tmp_path / "run"), "--load_in_4bit", "--mixed_precision", "bf16",
             "--learning_rate", "0.02", "--num_train_epochs", "4"]  # fmt: skip
    config = variables("accelerate_configs/fsdp2_4bit.yaml")
    forked.launched(2, ["recipes/lora_ner.py", *given], tmp_path / "logs", **config)
    record = scores(tmp_path / "run")
    losses = [epoch["loss"] for epoch in record["training"]["dev_scores"]]
    assert record["processes"] == 2 and losses[-1] < 0.8 * losses[0]


@pytest.fixture(scope="module")
def cable() -> Iterator[list[tuple[str, str, str]]]:
    """Two network namespaces, joined by a cable: name, end of the cable and address of each."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    machines = [
        (f"taskswap-{os.getpid()}-{rank}", f"ts{os.getpid() % 100000}{rank}", f"10.77.0.{rank + 1}") for rank in (0, 1)
    ]

    def ip(words: str) -> None:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)

    try:
        try:
            ip(f"netns add {machines[0][0]}")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {str(getattr(error, 'stderr', error)).strip()[:100]}")
        ip(f"netns add {machines[1][0]}")
        ip("link add {1} netns {0} type veth peer name {3} netns {2}".format(*machines[0][:2], *machines[1][:2]))
        for name, end, address in machines:
            ip(f"-n {name} addr add {address}/24 dev {end}")
            ip(f"-n {name} link set {end} up")
            ip(f"-n {name} link set lo up")
        yield machines
    finally:
        for name, _, _ in machines:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


IN_A_NAMESPACE = """
import ctypes, sys
from conftest import call_recipe
from pathlib import Path

with open(f"/run/netns/{sys.argv[1]}") as namespace:
    assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) == 0, ctypes.get_errno()
sys.exit(call_recipe(Path(sys.argv[2]), sys.argv[3:]))
"""


def test_two_machines_learn_what_one_process_does(
    tiny_bert: Path, tagged: Path, run_recipe: Any, tmp_path: Path, cable: list[tuple[str, str, str]]
) -> None:
    """Two network namespaces stand for two machines with one file system."""
    rate = ["--learning_rate", "0.02"]
    assert run_recipe("lora_ner", *flags(tiny_bert, tagged, tmp_path / "one"), *rate) == 0
    (tmp_path / "there.py").write_text(IN_A_NAMESPACE)
    recipe = ["recipes/lora_ner.py", *flags(tiny_bert, tagged, tmp_path / "two"), *rate]
    machines = []
    for rank, (name, end, _) in enumerate(cable):
        own = {"RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 29500}
        given = {"MASTER_ADDR": cable[0][2], "GLOO_SOCKET_IFNAME": end, **{key: str(own[key]) for key in own}}
        words = [tmp_path / "there.py", name, *recipe]
        machines.append(forked.Forked(words, tmp_path / f"{rank}.log", environment=given))
    codes = [machine.wait() for machine in machines]
    logs = [machine.printed() for machine in machines]
    assert codes == [0, 0], logs
    alike(tmp_path / "one", tmp_path / "two", 2)
    assert "test Entity F1:" in logs[0] and "test Entity F1:" not in logs[1], "the first machine speaks"


MEETING = """
import os, sys
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
numbers = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(numbers)
print(dist.get_rank(), os.environ["LOCAL_RANK"], dist.get_world_size(), numbers.item(), *sys.argv[1:])
dist.barrier()
dist.destroy_process_group()  # a process that ends with it may abort when the other one has gone
"""


def test_launch_on_two_machines_lets_their_processes_meet(cable: list[tuple[str, str, str]], tmp_path: Path) -> None:
    (tmp_path / "meeting.py").write_text(MEETING)
    machines = []
    for rank, (name, end, _) in enumerate(cable):
        words = ["launch", "--cpu", "--config_file", MANY, "--num_processes", "2", "--machine_rank", str(rank),
                 "--main_process_ip", cable[0][2], str(tmp_path / "meeting.py"), "--seed", "3"]  # fmt: skip
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "adapters", *words]
        with (tmp_path / f"{rank}.log").open("w") as told:
            machines.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=told, stderr=told,
                                             env={**os.environ, "GLOO_SOCKET_IFNAME": end}))  # fmt: skip
    codes = [machine.wait(240) for machine in machines]
    logs = [(tmp_path / f"{rank}.log").read_text() for rank in (0, 1)]
    assert codes == [0, 0], logs
    assert [f"{rank} 0 2 3.0 --seed 3" in logs[rank] for rank in (0, 1)] == [True, True], logs


def test_a_process_whose_peer_has_died_ends_when_the_launcher_says_so(
    tiny_bert: Path, tagged: Path, tmp_path: Path
) -> None:
    """The launcher tells it by SIGTERM, while it waits for the other one's gradients."""
    given = [*flags(tiny_bert, tagged, tmp_path / "run"), "--num_train_epochs", "2000", "--checkpointing_steps", "1"]
    processes = forked.ranks(2, ["recipes/lora_ner.py", *given], tmp_path / "logs")
    processes[0].until(lambda: list((tmp_path / "run").glob("checkpoints/step-*")))
    processes[1].send_signal(signal.SIGKILL)
    assert processes[1].wait() == -signal.SIGKILL
    processes[0].send_signal(signal.SIGTERM)
    assert processes[0].wait(30) != 0  # after which the launcher kills it
    for path in (tmp_path / "run").glob("checkpoints/step-*"):
        assert json.loads((path / "manifest.json").read_text()), "what was written before is whole"
