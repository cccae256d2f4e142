"""The Ray Serve application on a local Ray; skipped where ray is not installed (only its own extra brings it)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import servers
from conftest import REPOSITORY

ASKING = """
import json, sys, urllib.error, urllib.request
import ray
from ray import serve
from adapters.server.ray_app import build

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[3])})
serve.run(build({"base": sys.argv[1], "adapter_root": sys.argv[2], "replicas": 2}))

def ask(requests, **headers):
    url = f"http://127.0.0.1:{sys.argv[3]}/v1/predict"
    sent = urllib.request.Request(url, json.dumps(requests).encode(), headers)
    try:
        with urllib.request.urlopen(sent, timeout=60) as found:
            return [found.status, json.loads(found.read())]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]

text = sys.argv[4]
found = {name: ask([{"adapter": name, "inputs": text}], serve_multiplexed_model_id=name) for name in ("ner", "mood")}
found["both"] = ask([{"adapter": name, "inputs": text} for name in ("ner", "topic", "none", "../ner")])
found["unknown"] = ask([{"adapter": "none", "inputs": text}])
found["wrong"] = ask({})
serve.shutdown()
ray.shutdown()
print(json.dumps(found))
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'taskswap[ray]'")
def test_replicas_load_the_adapters_they_are_asked_for_and_answer_as_the_server_does(
    tiny_bert: Path, served_root: Path, served_bank: object, tmp_path: Path
) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-c", ASKING, str(tiny_bert), str(served_root), str(port), servers.TEXT]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    for name in ("ner", "mood"):
        status, (answer,) = found[name]
        (expected,) = served_bank.predict([{"adapter": name, "inputs": servers.TEXT}])  # type: ignore[attr-defined]
        assert status == 200
        assert answer["output"].get("tags") == expected["output"].get("tags")
        assert answer["output"].get("label") == expected["output"].get("label")
    status, answers = found["both"]
    assert status == 200
    assert ["output" in answer for answer in answers] == [True, True, False, False]
    assert found["unknown"][0] == 404 and found["wrong"][0] == 422
