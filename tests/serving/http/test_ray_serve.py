"""The Ray Serve application on a Ray of its own, over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
import servers
from conftest import REPOSITORY

from adapters.models.continuation import Sampling

pytestmark = pytest.mark.slow

# In a process of its own: Ray changes signal handlers and logging. One replica: each takes seconds to import torch.
SCRIPT = """
import json, sys, urllib.error, urllib.request
import ray
from ray import serve
from adapters.serving.http.ray_serve import build

base, root, port, text, token = sys.argv[1:]
arguments = {"base": base, "adapter_root": root, "predict_token_file": token}
two = build({**arguments, "replicas": "2"})
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
serve.run(build(arguments))

def ask(path, requests, **headers):
    url = f"http://127.0.0.1:{port}{path}"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + open(token).read(), **headers}
    request = urllib.request.Request(url, json.dumps(requests).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return [response.status, [json.loads(line) for line in response.read().splitlines()]]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]

def predict(requests, **headers):
    status, answers = ask("/v1/predict", requests, **headers)
    return [status, answers[0] if status == 200 else answers]

results = {
    name: predict([{"adapter": name, "inputs": text}], serve_multiplexed_model_id=name) for name in ("mood", "poet")
}
results["both"] = predict([{"adapter": name, "inputs": text} for name in ("mood", "scribe", "none", "../mood")])
results["unknown"] = predict([{"adapter": "none", "inputs": text}])
results["wrong"] = predict({})
write = {"adapter": "poet", "inputs": text, "max_new_tokens": 8, "seed": 1, "temperature": 1}
results["written"] = ask("/v1/generate", write)
results["lines"] = ask("/v1/generate", {**write, "stream": True})
results["nobody"] = ask("/v1/generate", {**write, "stream": True, "adapter": "none"})
results["classifier"] = ask("/v1/generate", {**write, "stream": True, "adapter": "mood"})
for path in ("/v1/predict", "/v1/predict/stream", "/v1/generate"):
    results["big " + path] = ask(path, "x" * 1_000_001)
    results["form " + path] = ask(path, [], **{"Content-Type": "application/x-www-form-urlencoded"})
    results["nobody " + path] = ask(path, [], Authorization="")
results["replicas"] = two._bound_deployment.num_replicas
ray.shutdown()
print(json.dumps(results))
"""


RELOADED = """
import json, shutil, sys
from pathlib import Path
from types import SimpleNamespace
from adapters.serving.bank.bank import AdapterBank
from adapters.serving.http.ray_serve import Replica

base, root, text = sys.argv[1:]
bank = AdapterBank(base, capacity=1, adapter_root=root)
replica = SimpleNamespace(service=SimpleNamespace(ready_bank=lambda: bank, root=Path(root)))
load = Replica.func_or_class._load
for name in ("mood", "other"):  # the second in the place of the first
    load(replica, name)
shutil.rmtree(Path(root) / "mood")
shutil.copytree(Path(root) / "other", Path(root) / "mood")
load(replica, "mood")
print(json.dumps(bank.predict([{"adapter": name, "inputs": text} for name in ("mood", "other")])))
"""


def printed(command: list[str], folder: Path) -> Any:
    """What a process of its own prints last."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_worker_prestart": "0",
    }
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_an_adapter_that_was_let_go_of_is_loaded_from_what_its_folder_is_now(tiny_bert: Path, tmp_path: Path) -> None:
    servers.write_adapters(tmp_path / "root", tiny_bert)
    (tmp_path / "reloaded.py").write_text(RELOADED)
    ended = forked.ended([tmp_path / "reloaded.py", tiny_bert, tmp_path / "root", servers.TEXT], tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]
    mood, other = json.loads(ended.stdout.splitlines()[-1])
    assert (mood["version"], other["version"]) == (2, 1) and mood["output"] == other["output"]


def test_replicas_load_the_adapters_that_requests_name_and_answer_as_the_server_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bank = servers.writing_bank(tmp_path / "writers")
    folders = str(tmp_path / "writers" / "base"), str(tmp_path / "writers")
    (tmp_path / "token").write_text("a-token-of-clients")
    command = [sys.executable, "-c", SCRIPT, *folders, str(port), servers.TEXT, str(tmp_path / "token")]
    results = printed(command, tmp_path)
    for name in ("mood", "poet"):
        (expected,) = bank.predict([{"adapter": name, "inputs": servers.TEXT}])
        status, (answer,) = results[name]
        assert status == 200 and answer["output"] == expected["output"]
    status, answers = results["both"]
    assert status == 200
    assert ["output" in answer for answer in answers] == [True, True, False, False]
    assert results["unknown"][0] == 404 and results["wrong"][0] == 422
    assert results["replicas"] == 2
    (expected,) = bank.generate(
        [{"adapter": "poet", "inputs": servers.TEXT}], Sampling(max_new_tokens=8, seed=1, temperature=1)
    )
    assert results["written"] == [200, [expected]]
    status, (*parts, last) = results["lines"]
    assert (status, last) == (200, expected)
    assert "".join(part["text"] for part in parts) == expected["output"]["completion"]
    assert results["nobody"][0] == 404 and results["classifier"][0] == 422
    for path in ("/v1/predict", "/v1/predict/stream", "/v1/generate"):
        refused = [results[f"{what} {path}"][0] for what in ("big", "form", "nobody")]
        assert refused == [413, 415, 401], path
