"""Several LoRA adapters of one base in one graph: their tensors, and those of their heads, are inputs.

An application then swaps tasks by passing other tensors, with one copy of the base in memory. An adapter's tensors are
`LAYER.down` `[rank, in]` and `LAYER.up` `[rank, out]` (multiplied by alpha / r) for each adapted layer, padded with
zeros to the largest rank, and the parameters of its head. All inputs must be given: ONNX Runtime for browsers knows no
defaults. So those of other kinds of heads are in a file of their own, which all adapters share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.artifacts import artifact, loading, merging
from adapters.artifacts.export.base import graph
from adapters.artifacts.export.base.export_format import ExportRequest
from adapters.artifacts.export.base.record import derived, sample_of, tokenizer_record, write_tokenizer
from adapters.artifacts.heads import Head, Heads
from adapters.artifacts.model_card import Sample
from adapters.artifacts.runtime.loading import ADAPTERS, FORMAT, HEADS, MODEL, read_tensors
from adapters.artifacts.runtime.tokenizer import FILE
from adapters.core.errors import ModelError, numbered
from adapters.core.settings import require
from adapters.methods.base.delta import AdapterDelta, AdapterTensors, LayerDelta
from adapters.models.base_model import Base
from adapters.models.layers import layer_size
from adapters.tasks.base.task import Task

if TYPE_CHECKING:
    import torch

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
UPDATES = ("down", "up")
"""The tensors of a layer's update that a graph takes."""
ADVICE = "Adapters in one file are those of lora, rslora or head; export this one alone."


@dataclass(frozen=True, kw_only=True)
class _Adapter:
    """One of the adapters.

    Attributes:
        folder: of the artifact.
        card: of the artifact.
        task: whose head it has.
        budget: tokens of a row.
        delta: of low rank alone.
        head: as in the bank.
        output: of the graph, which its head gives.
    """

    folder: Path
    card: Mapping[str, Any]
    task: Task
    budget: int
    delta: AdapterDelta
    head: Head
    output: str


def write(request: ExportRequest, opset: int, files: Path) -> tuple[dict[str, Any], Sample, list[str]]:
    """Write graph, tokenizer and adapters into a folder; gives the card, the first one's sample, and what to know."""
    from safetensors.torch import save_file

    require(len(request.adapters) > 1, "adapters", len(request.adapters), "two or more (one is ARTIFACT)")
    base, body = _base(request)
    heads = Heads(base, "cpu")
    adapters = {name: _read(folder, base, body, heads, request) for name, folder in request.adapters.items()}
    # Of one kind of head, the one with most parameters is traced: some adapters have a pooler of their own.
    traced_heads: dict[str, _Adapter] = {}
    for each in adapters.values():
        known = traced_heads.setdefault(each.output, each)
        if len(each.head.model.state_dict()) > len(known.head.model.state_dict()):
            traced_heads[each.output] = each
    updates = [one for each in adapters.values() for one in each.delta.layers.values()]
    rank = max((len(one.down) for one in updates if one.down is not None), default=1)
    layers = sorted({layer for each in adapters.values() for layer in each.delta.layers})
    tensors = {
        name: _updates(each, layers, rank, body) | _head(each, traced_heads[each.output], body)
        for name, each in adapters.items()
    }
    path, tokenizer = files / MODEL, base.word_tokenizer
    types = any(graph.reads_types(each.task, tokenizer, each.budget) for each in adapters.values())
    batches = {name: graph.Batches(base, each.budget, types=types) for name, each in adapters.items()}
    batch = next(iter(batches.values())).batch(*graph.TRACED, 0)
    traced = {name: graph.tensor(one) for name, one in batch.items()}
    own: dict[str, torch.Tensor] = {}
    for given in tensors.values():  # of a kind of head, those of the first adapter that has it
        own = {**given, **own}
    graph.write_graph(
        _module(body, traced_heads, layers, [*traced, *own]),
        {**traced, **own},
        {**dict.fromkeys(traced, graph.ROWS_OF_TOKENS), **_dynamic(own, tensors)},
        [*traced_heads],
        path,
        opset=opset,
    )
    (files / ADAPTERS).mkdir()
    save_file({name: one for name, one in own.items() if name.partition(".")[0] in traced_heads}, files / HEADS)
    of_heads = read_tensors(files / HEADS)
    opened, worst = graph.opened(path, opset=opset), 0.0
    records: dict[str, Any] = {}
    for name, each in adapters.items():
        file = f"{ADAPTERS}/{name}.safetensors"
        save_file(tensors[name], files / file)
        inputs = {**of_heads, **read_tensors(files / file)}
        worst = max(worst, _difference(each, opened, inputs, batches[name], request))
        kept = derived(each.card, each.folder, base)
        del kept["base"], kept["versions"]
        records[name] = {**kept, "budget": each.budget, "output": each.output, "file": file}
    write_tokenizer(base, files / FILE)
    first = next(iter(adapters.values()))
    sample = sample_of(first.task, base, first.budget, types=types)
    record = {"format": FORMAT, "opset": opset, **tokenizer_record(base), "rank": rank}
    record["largest_difference"] = float(f"{worst:.3g}")
    shared = {name: derived(first.card, first.folder, base)[name] for name in ("base", "versions")}
    notes = [
        f"opset {opset}; {numbered(len(adapters), 'adapters')} of rank {rank} or less, as inputs; logits equal "
        "torch's to "
        f"{worst:.1e} × max(1, |logit|) at 5 shapes that were not traced"
    ]
    return {**shared, ADAPTERS: records, "export": record}, sample, notes


def _difference(
    adapter: _Adapter, opened: Any, constants: Mapping[str, Any], batches: graph.Batches, request: ExportRequest
) -> float:
    """The largest difference between a graph with an adapter's tensors and that adapter by torch. Raises ModelError."""
    loaded: Any = loading.load(
        adapter.folder, base=request.base, device="cpu", dtype="float32", plugin_dirs=request.plugin_dirs
    )
    predictor = loaded.predictor
    try:
        return graph.largest_difference(
            graph.torch_runner(predictor.model, adapter.task, predictor.tokenizer),
            lambda batch: list(opened.run([adapter.output], {**batch, **constants})[0]),
            batches,
        )
    except ModelError as error:
        raise ModelError(f"{adapter.folder}: {error}") from error


def _module(body: Any, heads: Mapping[str, _Adapter], layers: Sequence[str], names: Sequence[str]) -> torch.nn.Module:
    """A module that takes all inputs in the order of their names, and gives the logits of every kind of head."""
    import torch

    given: dict[str, torch.Tensor] = {}

    def add(layer: str) -> Any:
        def hook(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            return output + inputs[0] @ given[f"{layer}.down"].T @ given[f"{layer}.up"]

        return hook

    class ManyAdapters(torch.nn.Module):
        """What is traced."""

        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.heads = torch.nn.ModuleList(each.head.model for each in heads.values())

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            """The logits of each kind of head, `[rows, …]`."""
            given.update(zip(names, tensors, strict=True))
            inputs = {name: given[name] for name in names if name in MODEL_INPUTS}
            out = self.body(**inputs)
            found = []
            for output, each in heads.items():
                own = f"{output}."
                parameters = {name.removeprefix(own): one for name, one in given.items() if name.startswith(own)}
                states = each.head.body.given
                states.states, states.pooled = out.last_hidden_state.float(), getattr(out, "pooler_output", None)
                called: Any = _Called(each.head.model, parameters)
                found.append(each.task.logits(called, inputs))
            return tuple(found)

    for layer in layers:
        body.get_submodule(layer).register_forward_hook(add(layer))
    return ManyAdapters()


@dataclass(frozen=True)
class _Called:
    """A model that is called with other parameters than its own."""

    model: Any
    parameters: Mapping[str, Any]

    def __call__(self, **inputs: Any) -> Any:
        """What the model gives."""
        from torch.func import functional_call

        return functional_call(self.model, dict(self.parameters), (), inputs)


def _dynamic(own: Mapping[str, torch.Tensor], tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, Any]:
    """Of each input of an adapter, the dimensions in which adapters differ: the number of labels."""
    out: dict[str, Any] = {}
    for name in own:
        shapes = [tuple(each[name].shape) for each in tensors.values() if name in each]
        differ = [at for at in range(len(shapes[0])) if len({shape[at] for shape in shapes}) > 1]
        out[name] = {at: f"labels_{name.partition('.')[0]}" for at in differ}
    return out


def _base(request: ExportRequest) -> tuple[Base, Any]:
    """The base of the adapters, which is the first one's, and its body."""
    first = next(iter(request.adapters.values()))
    base = loading.base_of(artifact.read_card(first), request.base)
    return base, base.load_body().base_model.eval().requires_grad_(False)


def _read(folder: Path, base: Base, body: Any, heads: Heads, request: ExportRequest) -> _Adapter:
    """Read an adapter as the bank does. Raises ModelError unless it is LoRA's, with a head."""
    card, method = merging.read_adapter(folder, request.plugin_dirs)
    if not method.needs_base:
        raise ModelError(f"{folder}: {method.name} has no base model. Export it alone.")
    artifact.check_base(card["base"], base)
    card, tensors = artifact.open_adapter(folder)
    task, method = loading.task_and_method(card, folder, request.plugin_dirs)
    task = task.on(base.kind)
    method.check(base, task)
    if not task.has_head:
        raise ModelError(f"{folder}: {task.name} generates its answers; only tasks with a head are written as ONNX.")
    saved = AdapterTensors(
        tensors,
        body,
        body_name=heads.body_name(task),
        modules=heads.body_modules(task),
        subject=str(folder),
    )
    try:
        delta = method.delta(saved, base, task)
    except ModelError as error:
        raise ModelError(f"{folder}: {method.title} adds no product of low rank. {ADVICE}") from error
    others = {name for one in delta.layers.values() for name, _ in one.tensors() if name not in UPDATES}
    if others or delta.prefix is not None or delta.prompt is not None:
        raise ModelError(f"{folder}: {method.title} adds more than a product of low rank to a layer. {ADVICE}")
    head = heads.build(task, saved, reads_prompt=False, updates=delta.head)
    output = _snake(task.auto_class(base.kind).removeprefix("AutoModelFor"))
    return _Adapter(
        folder=folder,
        card=card,
        task=task,
        budget=method.budget(base, int(card["max_length"])),
        delta=delta,
        head=head,
        output=output,
    )


def _snake(name: str) -> str:
    """`TokenClassification` as `token_classification`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).strip("_")


def _updates(adapter: _Adapter, layers: Sequence[str], rank: int, body: Any) -> dict[str, torch.Tensor]:
    """An update for every layer of the graph, padded with zeros to the largest rank."""
    import torch

    out: dict[str, torch.Tensor] = {}
    for layer in layers:
        update = adapter.delta.layers.get(layer, LayerDelta())
        for part, size in zip(UPDATES, layer_size(body.get_submodule(layer)), strict=True):
            found = getattr(update, part)
            out[f"{layer}.{part}"] = torch.zeros(rank, size)
            if found is not None:
                out[f"{layer}.{part}"][: len(found)] = found
    return out


def _head(adapter: _Adapter, traced: _Adapter, body: Any) -> dict[str, torch.Tensor]:
    """The parameters of a head; where the traced one has a pooler of its own and this one has not, the base's."""
    own = dict(adapter.head.model.state_dict())
    for name in traced.head.model.state_dict().keys() - own.keys():
        own[name] = body.get_parameter(name.removeprefix(f"{adapter.head.model.base_model_prefix}."))
    return {f"{adapter.output}.{name}": one.detach().contiguous() for name, one in own.items()}
