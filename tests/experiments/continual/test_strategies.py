from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from sequences import sequence_run, things_and_looks, write_texts

from adapters.core import discovery
from adapters.core.errors import DataError, ModelError, SettingsError
from adapters.data.tag_schemes import spans
from adapters.evaluation.metrics.entity_f1 import Metric as EntityF1
from adapters.experiments.continual import state
from adapters.experiments.continual.heads import Heads
from adapters.experiments.continual.objective import OfTask, SequenceObjective, log_shares, numbered
from adapters.experiments.continual.record import finish
from adapters.experiments.continual.routing import _wrong
from adapters.experiments.continual.sequence import SequenceTask, check_scenario, names_of, orders_of
from adapters.experiments.continual.strategies import ewc, lwf, olora, replay
from adapters.experiments.continual.strategies.base.strategy import bytes_of
from adapters.experiments.continual.weights import put
from adapters.methods.base.method import load_method
from adapters.models.tokenizer import IGNORED
from adapters.tasks.base.example import Example


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return things_and_looks(tmp_path_factory.mktemp("data"))


def stage_of(run, number, *, train=False):
    """The stage of a run, after the tasks before were learned."""
    for before in range(number):
        run._learn(before, run.tasks[:before], run.tasks[before : before + 1])
    heads = Heads(run.settings.scenario, run.tasks[: number + 1])
    before = state.read(run.folder) if number else None
    if before:
        run.strategy.restore(before.strategy_tensors, before.strategy_values)
    stage = run._stage(run.tasks[:number], run.tasks[number : number + 1], heads, before, trained_already=False)
    if train:
        run._train(stage, number)
    return stage


@pytest.mark.parametrize("scenario", ["task-incremental", "class-incremental"])
def test_the_loss_is_that_of_the_task_alone_among_the_outputs_that_compete(scenario, tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="sequential", scenario=scenario)
    heads = Heads(scenario, run.tasks)
    objective, base = SequenceObjective(heads), run.session.base
    generator = torch.Generator().manual_seed(0)
    for number, one in enumerate(run.tasks):
        own = heads.task(one.name)
        examples = numbered(run.tasks, [(number, one.train)])[:]
        rows = objective.encode(examples, base.word_tokenizer, 32, learning=True)
        alone = own.encode(one.train[:], base.word_tokenizer, 32, learning=True)
        assert [row.input_ids for row in rows] == [row.input_ids for row in alone]
        logits = torch.randn(len(rows), len(heads.outputs), generator=generator)
        found = objective.loss(logits, torch.tensor([row.targets for row in rows]))
        wanted = own.loss(logits[:, heads.of(one.name)], torch.tensor([row.targets for row in alone]))
        assert found[0] == pytest.approx(float(wanted[0]), rel=1e-6)
        assert found[1] == wanted[1]


def test_new_outputs_leave_the_answers_of_the_learned_ones_as_they_were(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="sequential")
    stage = stage_of(run, 1)
    former = stage.former()
    before = run._predictor(former, Heads(run.settings.scenario, stage.learned), stage.method, "things")
    after = run._predictor(stage.model, stage.heads, stage.method, "things")
    examples = run.tasks[0].scored()[:]
    for one, other in zip(before.predict(examples), after.predict(examples), strict=True):
        assert np.allclose(one.detail, other.detail, atol=1e-6)


def test_the_bias_of_new_outputs_is_the_log_share_among_those_that_compete(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="sequential")
    heads = Heads("task-incremental", run.tasks)
    targets = [np.array([0]), np.array([0]), np.array([4 + 3]), np.array([IGNORED])]
    assert np.allclose(np.exp(log_shares(heads, targets)), [3 / 4, 1 / 4, 1 / 3, 2 / 3])


def test_the_fisher_information_of_a_bias_is_that_of_the_softmax(tasks, tiny_bert, tmp_path):
    """Of a bias b of a softmax, E[(d log p / d b)²] = p (1 - p), whatever else the model is."""
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="ewc", dropout=0.0, max_train_steps=1)
    stage = stage_of(run, 0, train=True)
    found = ewc.fisher_information(stage, 10_000)
    (name,) = [name for name in found if name.endswith("bias") and name in stage.head]
    stage.model.eval()
    shares = []
    for row in range(len(stage.dataset.lengths)):
        inputs, _ = stage.dataset.collate([row], torch.device("cpu"))
        shares.append(stage.model(**inputs).logits.softmax(-1)[0].detach().numpy())
    wanted = np.mean([p * (1 - p) for p in shares], axis=0)
    sampled = found[name].numpy()
    error = np.std([p * (1 - p) for p in shares]) + 0.25 / np.sqrt(len(shares))  # (1 - p)² or p² is drawn
    assert np.allclose(sampled, wanted, atol=3 * error)
    assert sampled[0] == pytest.approx(sampled[1], rel=1e-4)  # of two classes, one gradient is minus the other


def test_elastic_weights_pull_towards_the_anchor_by_the_fisher_information(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="ewc", ewc_lambda=3.0)
    stage = stage_of(run, 1)
    objective = run.strategy.objective(stage, SequenceObjective(stage.heads))
    assert float(objective.penalty().detach()) == pytest.approx(0.0, abs=1e-9)  # nothing has moved
    fisher = {name: torch.rand_like(value) for name, value in run.strategy.fisher.items()}
    run.strategy.fisher = fisher
    penalty = run.strategy.objective(stage, SequenceObjective(stage.heads)).penalty
    parameters = {name: p for name, p in stage.model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in parameters.values():
            parameter += 0.1
    assert float(penalty().detach()) == pytest.approx(
        1.5 * sum(0.01 * float(f.sum()) for f in fisher.values()), rel=1e-4
    )


def test_distillation_is_the_divergence_of_each_earlier_task_and_nothing_for_an_equal_model(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="lwf", lwf_lambda=2.0, lwf_temperature=3.0)
    stage = stage_of(run, 1)
    plain = SequenceObjective(stage.heads)
    objective = run.strategy.objective(stage, plain)
    assert isinstance(objective, lwf.Distilled)
    own, taught = torch.randn(5, 4), torch.randn(5, 2)
    targets = torch.full((5, 1), 1 * 4 + 2)
    alone, count = plain.loss(own, targets)
    both, counted = objective.loss(torch.cat([own, taught], -1), targets)
    p, q = (taught / 3).softmax(-1), (own[:, :2] / 3).log_softmax(-1)
    wanted = 2.0 * 9.0 * float((p * (p.log() - q)).sum())
    assert counted == count
    assert float(both - alone) == pytest.approx(wanted, rel=1e-5)
    same, _ = objective.loss(torch.cat([own, own[:, :2]], -1), targets)
    assert float(same - alone) == pytest.approx(0, abs=1e-5)


def test_ranks_of_earlier_tasks_stay_as_they_are_and_the_penalty_is_the_overlap(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="olora", lora_r=2, lora_alpha=4.0, weight_decay=0.5)
    stage = stage_of(run, 1)
    earlier = {name: value.clone() for name, value in stage.weights.items()}
    penalty = run.strategy.objective(stage, SequenceObjective(stage.heads)).penalty
    downs = [p for name, p in stage.model.named_parameters() if ".lora_A." in name]
    wanted = sum(float((a[2:] @ a[:2].T).abs().sum().detach()) for a in downs)
    assert float(penalty().detach()) == pytest.approx(0.5 * wanted, rel=1e-5)
    run._train(stage, 1)
    for name, parameter in stage.model.named_parameters():
        if ".lora_A." in name:
            assert parameter.shape[0] == 4
            assert torch.equal(parameter[:2], earlier[name])
        if ".lora_B." in name:
            assert torch.equal(parameter[:, :2], earlier[name])
    assert stage.method.scaling == run.method_for(1).scaling
    assert olora.Strategy.low_rank
    whole = {name for name, p in stage.model.named_parameters() if p.requires_grad and ".lora_" not in name}
    assert whole == stage.head, "what is learned in full of earlier tasks would be overwritten"


def test_a_merged_delta_is_what_peft_merges_and_fits_the_rank(tasks, tiny_bert, tmp_path):
    from peft.utils.merge_utils import ties

    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="merge", lora_r=4, lora_alpha=8.0, merge_density=0.7)
    run.learn_all()
    from adapters.experiments.continual import state

    merged = state.read(run.folder)
    singles = run.strategy.single
    name = next(name for name in merged.weights if ".lora_A." in name)
    up = name.replace(".lora_A.", ".lora_B.")
    deltas = [singles[task][up] @ singles[task][name] for task in ("things", "looks")]
    wanted = ties(deltas, torch.ones(2), 0.7, "total")
    found = merged.weights[up] @ merged.weights[name]
    u, s, v = torch.linalg.svd(wanted)
    best = u[:, :8] @ torch.diag(s[:8]) @ v[:8]
    factor = float((found * best).sum() / (best * best).sum())
    assert torch.allclose(found, factor * best, atol=1e-6)


def test_a_task_without_labels_cannot_be_balanced():
    stars = [Example(id=str(n), inputs={"text": "fine"}, gold=float(n)) for n in range(1, 6)]
    task = SequenceTask(name="stars", task=tiny.regressing(), splits={"train": stars}, metric=None)
    nothing = lambda examples: np.zeros((len(examples), 3))  # noqa: E731
    assert len(replay.select(task, settings(replay_selection="random"), nothing)) == 4
    with pytest.raises(ModelError, match="stars: --replay_selection balanced needs labels"):
        replay.select(task, settings(replay_selection="balanced"), nothing)


def settings(**values):
    return type(
        "Settings", (), {"replay_examples": 4, "replay_per_class": None, "seed": 0, "order_number": 0, **values}
    )()


@pytest.mark.parametrize("selection", ["random", "balanced", "herding"])
def test_replay_keeps_as_many_examples_as_it_says(selection, tmp_path, tiny_bert):
    path = write_texts(tmp_path, "things", ["fruit", "animal", "fruit", "colour"])
    other = write_texts(tmp_path, "looks", ["tool", "colour"])
    run = sequence_run(tmp_path / "run", [path, other], tiny_bert, strategy="replay")
    (one, _) = run.tasks
    features = lambda examples: np.random.default_rng(0).normal(size=(len(examples), 3))  # noqa: E731
    chosen = replay.select(one, settings(replay_selection=selection), features)
    assert len(set(chosen)) == 4
    everything = replay.select(one, settings(replay_selection=selection, replay_examples=1000), features)
    assert everything == list(range(len(one.train)))
    if selection != "random":
        labels = [one.train[i].gold for i in chosen]
        assert {"fruit", "animal", "colour"} == set(labels)
        each = replay.select(one, settings(replay_selection=selection, replay_per_class=2), features)
        assert sorted(one.train[i].gold for i in each) == ["animal"] * 2 + ["colour"] * 2 + ["fruit"] * 2


def test_herding_takes_first_what_is_nearest_the_mean(tmp_path, tiny_bert):
    run = sequence_run(tmp_path / "run", things_and_looks(tmp_path / "data"), tiny_bert, strategy="replay")
    found = np.random.default_rng(1).normal(size=(12, 3))
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    order = replay._herded(list(range(12)), run.tasks[0], lambda examples: found[: len(examples)])
    assert sorted(order) == list(range(12))
    first = np.linalg.norm(unit - unit.mean(0), axis=1).argmin()
    assert order[0] == first
    pairs = {i: np.linalg.norm((unit[first] + unit[i]) / 2 - unit.mean(0)) for i in range(12) if i != first}
    assert order[1] == min(pairs, key=pairs.get)


@pytest.mark.parametrize(
    ("strategy", "method", "words"),
    [
        ("adapter_per_task", "full", "strategy separate"),
        ("olora", "prefix", "low-rank deltas"),
        ("merge", "full", "low-rank deltas"),
        ("sequential", "few_shot", "trains nothing"),
        ("replay", "tfidf", "without a base model"),
        ("replay", "setfit", "another objective"),
        ("olora", "rslora", "low-rank deltas"),
    ],
)
def test_what_does_not_fit_is_refused_with_why(strategy, method, words):
    kind = discovery.load("strategies", strategy).Strategy
    with pytest.raises(ModelError, match=words):
        kind.check(load_method(method), "task-incremental")


def test_orders_are_as_spelled_out_or_distinct_random_ones():
    names = ["a", "b", "c"]
    assert orders_of([], names) == [names]
    assert orders_of(["c/a/b"], names) == [["c", "a", "b"]]
    six = orders_of(["6"], names)
    assert six[0] == names
    assert len({tuple(order) for order in six}) == 6
    for wrong, words in (("7", "from 1 to 6"), ("a/b", "each task once"), ("a/b/x", "did you mean|no task")):
        with pytest.raises(SettingsError, match=words):
            orders_of([wrong], names)


def test_two_tasks_of_one_name_and_other_wrong_sequences_are_refused(tasks, tiny_bert, tmp_path, capsys):
    with pytest.raises(SettingsError, match="another task is called things"):
        names_of([str(tasks[0]), str(tmp_path / "things.toml")])
    for name in ("all_tasks", "router", "auto"):
        with pytest.raises(SettingsError, match=rf"{name}\.toml: a task cannot be called all_tasks, router, auto"):
            names_of([f"{name}.toml"])
    run = sequence_run(tmp_path / "run", tasks, tiny_bert, strategy="sequential")
    with pytest.raises(DataError, match="must have the same labels"):
        check_scenario("domain-incremental", run.tasks, print)
    with pytest.raises(SettingsError, match="did you mean"):
        check_scenario("task-incremetal", run.tasks, print)
    twin = write_texts(tmp_path, "more", ["fruit", "tool"])
    run = sequence_run(tmp_path / "run", [tasks[0], twin], tiny_bert, strategy="sequential")
    said = capsys.readouterr().err
    assert "things and more both have the label fruit: each task has an output of its own for it" in said
    typo = write_texts(tmp_path, "typo", ["fruit", "tool"], learning_rate=0.1)
    with pytest.raises(SettingsError, match=r"typo: .*learning_rate.*Give settings of the training as flags"):
        sequence_run(tmp_path / "run", [tasks[0], typo], tiny_bert, strategy="sequential")


def test_domains_with_the_same_labels_share_their_outputs_and_are_scored_before_they_are_learned(tiny_bert, tmp_path):
    (tmp_path / "data").mkdir()
    tasks = [write_texts(tmp_path / "data", name, ["fruit", "tool"], seed=i) for i, name in enumerate(("shop", "web"))]
    run = sequence_run(tmp_path / "run", tasks, tiny_bert, strategy="sequential", scenario="domain-incremental")
    run.learn_all()
    record = finish(run)
    assert all(cell is not None for row in record["matrix"] for cell in row)
    assert all(isinstance(score, float) for score in record["untrained"])
    assert Heads("domain-incremental", run.tasks).labels.names == ("fruit", "tool")


def test_entities_of_domains_are_learned_and_routed(tiny_bert, tagged, tmp_path):
    for name in ("news", "web"):
        lines = {"task": "ner", **{f"{split}_file": str(tagged / f"{split}.conll") for split in ("train", "test")}}
        (tmp_path / f"{name}.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in lines.items()))
    run = sequence_run(
        tmp_path / "run",
        [tmp_path / "news.toml", tmp_path / "web.toml"],
        tiny_bert,
        strategy="adapter_per_task",
        task="ner",
        routing="means",
    )
    run.learn_all()
    record = finish(run)
    assert record["main"]["metric"] == "entity_f1"
    assert record["routed"]["accuracy"][-1] == 0.5  # equal texts: one of the two is chosen for both
    assert OfTask(Heads("task-incremental", run.tasks), "web").outputs[0] == len(run.tasks[0].task.labels)
    put(stage_of(run, 0).model, {})


def test_limits_are_for_a_task_so_that_all_at_once_may_learn_as_long_as_one_after_the_other(tasks, tiny_bert, tmp_path):
    steps = {}
    for strategy in ("sequential", "joint"):
        for limit in ("max_train_steps", "min_train_steps"):
            run = sequence_run(
                tmp_path / strategy / limit, tasks, tiny_bert, strategy=strategy, num_train_epochs=0.1,
                **{"max_train_steps": None, limit: 3},
            )  # fmt: skip
            run.learn_all()
            steps[strategy, limit] = sum(stage["steps"] for stage in finish(run)["stages"])
    assert set(steps.values()) == {6}


def test_a_task_at_the_same_place_of_two_orders_is_not_trained_alike(tasks, tiny_bert, tmp_path):
    """Else two orders would be one draw for it, and the spread of their mean too small."""
    found = []
    for number in (0, 1, 0):
        run = sequence_run(tmp_path / str(len(found)), tasks, tiny_bert, strategy="separate", order_number=number)
        run._learn(0, (), run.tasks[:1])
        weights = state.read_own(run.folder, "things")
        found.append(torch.cat([value.flatten() for _, value in sorted(weights.items())]))
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("share, wanted", [(0.0, 4), (0.5, 24), (0.75, 72)])
def test_remembered_examples_are_the_share_of_an_epoch_that_is_given(share, wanted, tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="replay", replay_examples=4, replay_share=share)
    stage = stage_of(run, 1)
    (present, own), (number, remembered) = run.strategy.parts(stage)
    assert (present, len(own)) == (1, 24)
    assert (number, len(remembered)) == (0, wanted)
    times = Counter(example.id for example in remembered)
    assert len(times) == 4 and max(times.values()) - min(times.values()) <= 1


def test_the_dev_examples_that_choose_the_factor_of_a_merge_are_remembered(tasks, tiny_bert, tmp_path):
    run = sequence_run(tmp_path, tasks, tiny_bert, strategy="merge")
    run.learn_all()
    sizes = [sum(map(bytes_of, one.dev)) for one in run.tasks]
    memory = [stage["stored_bytes"]["memory"] for stage in finish(run)["stages"]]
    assert memory == [sizes[0], sum(sizes)]


@pytest.mark.parametrize("types", [("person", "party"), ("person",)])
def test_entities_of_another_tasks_adapter_are_found_and_none_is_right(types):
    metric = EntityF1(["O", *(f"{begin}-{kind}" for kind in types for begin in "BI")])
    gold = ["B-person", "I-person", "O", "B-person", "O"]
    for answer in (
        ["B-person", "I-person", "O", "O", "B-person"],
        ["B-work", "I-work", "O", "B-work", "I-work"],
        ["O"] * 5,
        gold,
    ):
        wrong = _wrong(gold, answer, types).value
        right, predicted, wanted = metric.counts(gold, wrong).reshape(3, -1).sum(1)
        left = len({span[1:] for span in spans(answer)} & {span[1:] for span in spans(gold)})
        assert (right, wanted) == (0, 2)
        assert predicted == len(spans(answer)) - (left if len(types) == 1 else 0)
    assert _wrong("fruit", "fruit", ()).value is None
