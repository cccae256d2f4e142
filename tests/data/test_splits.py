"""Splits: dev and test cut by a hash, what an alias says, limits, and a tokenizer that does not know the text."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from adapters.core.errors import DataError, Faults, ModelError, SettingsError, SourceError
from adapters.core.settings import CommonSettings
from adapters.core.sources.resolve import Source
from adapters.data.rows import RowSource
from adapters.data.splits import with_dev, with_limits, with_test
from adapters.tasks.base import examples as splits_module
from adapters.tasks.base.example import Example, Examples
from adapters.tasks.base.examples import check_unknown_tokens, open_sources, with_options
from adapters.tasks.ner import Settings, Task


def common(**changes: Any) -> CommonSettings:
    return replace(CommonSettings(), **changes)


def write(path: Path, sentences: list[str]) -> Path:
    """A sentence of one word and a name for each word given."""
    path.write_text("".join(f"{word}\tO\nAda\tB-PER\n\n" for word in sentences), encoding="utf-8")
    return path


def read(**files: Any) -> dict[str, Examples]:
    return Task.read(open_sources(common(**files)), Settings())[1]


def words(split: Examples) -> list[str]:
    return [example.inputs["tokens"][0] for example in split]


WORDS = [f"w{i}" for i in range(300)]


@pytest.fixture
def train(tmp_path: Path) -> dict[str, Examples]:
    return read(train_file=str(write(tmp_path / "all.conll", WORDS)))


# the cut of a dev split -----------------------------------------------------------------------------------------------


def test_a_dev_split_is_cut_from_train_and_both_together_are_train(train: dict[str, Examples]) -> None:
    cut = with_dev(train, common(validation_split_percentage=20))
    assert sorted(words(cut["train"]) + words(cut["validation"])) == sorted(WORDS)
    assert 0.12 < len(cut["validation"]) / 300 < 0.28
    assert (cut["validation"].name, cut["train"].name) == ("validation", "train")
    said = "20 % of train by a hash, the same for every seed"
    assert cut["validation"].notes["cut_from_train"] == cut["train"].notes["without_dev"] == said
    assert [words(cut["train"]), words(cut["validation"])] == [
        sorted(words(split), key=WORDS.index) for split in (cut["train"], cut["validation"])
    ]


def test_the_cut_is_the_same_each_time_and_for_every_seed(train: dict[str, Examples]) -> None:
    def cut(seed: int) -> list[str]:
        return words(with_dev(train, common(seed=seed))["validation"])

    assert cut(0) == cut(0) == cut(1)
    # It must stay the same over releases: scores of one dev split cannot be compared with those of another.
    assert cut(0)[:5] == ["w7", "w12", "w32", "w62", "w69"]


def test_the_cut_of_many_examples_is_by_each_ones_hash(tmp_path: Path) -> None:
    path = write(tmp_path / "many.conll", [f"w{number}" for number in range(1000)])
    dev = words(with_dev(read(train_file=str(path)), common())["validation"])
    assert dev[:5] == ["w6", "w20", "w33", "w41", "w45"] and len(dev) != 100


@pytest.mark.parametrize(("examples", "percent", "expected"), [(2, 10, 1), (49, 10, 5), (80, 25, 20), (300, 10, 30)])
def test_of_few_examples_exactly_the_share_goes_to_dev(
    tmp_path: Path, examples: int, percent: int, expected: int
) -> None:
    splits = read(train_file=str(write(tmp_path / "few.conll", WORDS[:examples])))
    cut = with_dev(splits, common(validation_split_percentage=percent))
    assert (len(cut["validation"]), len(cut["train"])) == (expected, examples - expected)


def test_equal_examples_of_few_stay_together(tmp_path: Path) -> None:
    splits = read(train_file=str(write(tmp_path / "few.conll", WORDS[:20] * 3)))
    cut = with_dev(splits, common(validation_split_percentage=20))
    dev = Counter(words(cut["validation"]))
    assert set(dev.values()) == {3} and len(dev) == 4 and not dev.keys() & set(words(cut["train"]))


def test_the_cut_does_not_hang_on_the_order_of_the_examples(train: dict[str, Examples], tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(WORDS, len(WORDS))
    other = read(train_file=str(write(tmp_path / "shuffled.conll", shuffled)))
    first, second = (set(words(with_dev(splits, common())["validation"])) for splits in (train, other))
    assert first == second


def test_a_smaller_share_is_a_part_of_a_larger_one(train: dict[str, Examples]) -> None:
    shares = [set(words(with_dev(train, common(validation_split_percentage=p))["validation"])) for p in (5, 10, 40)]
    assert shares[0] < shares[1] < shares[2]


def test_equal_examples_stay_on_one_side(tmp_path: Path) -> None:
    splits = read(train_file=str(write(tmp_path / "a.conll", [f"w{i % 20}" for i in range(200)])))
    cut = with_dev(splits, common(validation_split_percentage=40))
    left, right = words(cut["train"]), words(cut["validation"])
    assert left and right and not set(left) & set(right)
    assert len(left) + len(right) == 200


def test_whole_documents_go_to_dev_where_all_examples_know_theirs(tmp_path: Path) -> None:
    draw, lines = random.Random(1), []
    for number in range(50):
        lines += ["-DOCSTART-\tO\n", *(f"d{number}w{i}\tO\nAda\tB-PER\n\n" for i in range(draw.randint(2, 9)))]
    (tmp_path / "a.conll").write_text("".join(lines))
    splits = read(train_file=str(tmp_path / "a.conll"))
    cut = with_dev(splits, common())
    sides = [set(split.documents()) for split in (cut["train"], cut["validation"])]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 50
    assert 0.1 <= len(cut["validation"]) / len(splits["train"]) < 0.15
    said = "10 % of train by a hash of documents, the same for every seed"
    assert cut["validation"].notes["cut_from_train"] == cut["train"].notes["without_dev"] == said
    assert words(with_dev(splits, common(seed=1))["validation"]) == words(cut["validation"])
    # It must stay the same over releases, as for examples.
    assert sorted(sides[1]) == ["#29", "#30", "#35", "#38", "#42", "#5"]
    few = {"train": splits["train"].select(range(40))}
    assert len(set(few["train"].documents())) < 10
    assert with_dev(few, common())["train"].notes["without_dev"] == "10 % of train by a hash, the same for every seed"


def test_a_dev_split_that_is_there_is_not_cut_again(tagged: Path) -> None:
    splits = read(dataset_name=str(tagged))
    assert with_dev(splits, common()) == splits
    without_train = {"test": splits["test"]}
    assert with_dev(without_train, common()) == without_train


def test_a_cut_that_would_leave_one_side_empty_is_refused(tmp_path: Path) -> None:
    splits = read(train_file=str(write(tmp_path / "a.conll", ["same"] * 9)))
    with pytest.raises(DataError, match=r"train has 9 examples, of which 10 % for dev leaves one side empty\."):
        with_dev(splits, common())


# limits ---------------------------------------------------------------------------------------------------------------


def test_each_split_is_cut_to_its_own_limit(tagged: Path) -> None:
    splits = read(dataset_name=str(tagged))
    limits = {"max_train_samples": 7, "max_eval_samples": 5, "max_predict_samples": 30}
    limited = with_limits(splits, common(**limits))
    assert {name: len(split) for name, split in limited.items()} == {"train": 7, "validation": 5, "test": 30}
    assert limited["train"][:] == splits["train"][:7]
    assert limited["train"].notes["limit"] == 7
    assert limited["test"] is splits["test"] and "limit" not in limited["test"].notes


def test_a_random_limit_draws_the_same_examples_in_every_run_and_keeps_their_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", WORDS)
    splits = read(train_file=str(path), test_file=str(path))
    limits = {"max_train_samples": 40, "max_predict_samples": 40, "sample_selection": "random"}
    first, again = (with_limits(splits, common(seed=seed, **limits)) for seed in (0, 1))
    drawn = words(first["train"])
    assert words(again["train"]) == drawn and drawn == sorted(drawn, key=WORDS.index) and drawn != WORDS[:40]
    assert words(first["test"]) != drawn
    assert first["train"].notes["limit"] == "40 drawn"
    with pytest.raises(SettingsError, match="--sample_selection best: must be first or random"):
        common(sample_selection="best").check()


# sources --------------------------------------------------------------------------------------------------------------


def test_files_stand_in_for_the_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", ["x"])
    sources = open_sources(common(train_file=str(path), test_file=str(path)))
    assert {split: source.name for split, source in sources.items()} == {"train": str(path), "test": str(path)}


def test_a_dataset_may_be_a_folder_or_one_file(tagged: Path) -> None:
    assert list(open_sources(common(dataset_name=str(tagged)))) == ["train", "validation", "test"]
    single = open_sources(common(dataset_name=str(tagged / "dev.conll")))
    assert {split: Path(source.name).name for split, source in single.items()} == {"train": "dev.conll"}


def test_a_file_stands_in_for_one_split_of_the_dataset(tagged: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "other.conll", ["x"])
    sources = open_sources(common(dataset_name=str(tagged), test_file=str(path)))
    assert {split: Path(source.name).name for split, source in sources.items()} == {
        "train": "train.conll",
        "validation": "dev.conll",
        "test": "other.conll",
    }


def test_a_dataset_is_not_read_where_there_is_a_train_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", ["x"])
    sources = open_sources(common(dataset_name=str(tmp_path / "nowhere"), train_file=str(path)))
    assert list(sources) == ["train"]


def test_no_data_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"There is no data\. Give --dataset_name, or --train_file"):
        open_sources(common(dataset_name=None))


def test_a_dataset_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        open_sources(common(dataset_name=str(tmp_path / "nowhere")))


# what an alias says of its data ---------------------------------------------------------------------------------------

REVIEWS = [(f"t{i % 250}", ("fresh", "plot", "rotten")[i % 3]) for i in range(300)]
OPTIONS = {"text_column": "quote", "label_column": "verdict", "drop": ["plot"], "test_percentage": 15}


class Stub:
    """A task that notes the settings it was given, and takes whatever rows there are."""

    given: Any = None

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Example:
        return Example(id=row["where"], inputs={"text": row["text"]}, gold=row["label"], where=row["where"])

    @classmethod
    def read_to_learn(cls, sources: dict[str, RowSource], given: Any) -> tuple[Any, dict[str, Examples]]:
        from datasets import Dataset

        cls.given, splits = given, {}
        for name, source in sources.items():
            text, label = (given.text_column_name or "text", given.label_column_name or "label")
            rows = [
                {"text": r.values[text], "label": r.values[label], "where": r.where()} for r in source.rows(Faults("x"))
            ]
            splits[name] = Examples(name, Dataset.from_list(rows), cls, {"digest": source.digest()})
        return cls(), splits


@dataclass(frozen=True, kw_only=True)
class WithColumns(CommonSettings):
    text_column_name: str | None = None
    label_column_name: str | None = None


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Examples]]:
    """Reads an alias of one CSV file with `OPTIONS`, as the stub task and the given settings have it."""
    path = tmp_path / "reviews.csv"
    path.write_text("verdict,quote\n" + "".join(f"{label},{text}\n" for text, label in REVIEWS))
    monkeypatch.setattr(splits_module, "load_task", lambda *_: Stub)

    def read(options: dict[str, Any] = OPTIONS, **given: Any) -> dict[str, Examples]:
        alias = Source(name="reviews", path=path, alias="reviews", options=options)
        monkeypatch.setattr(splits_module, "resolve", lambda *_: alias)
        return splits_module.read_splits("stub", WithColumns(**{"dataset_name": "reviews", **given}))[1]

    return read


def texts(split: Examples) -> list[str]:
    return [example.inputs["text"] for example in split]


def test_an_alias_names_its_columns_drops_labels_and_has_a_test_split_cut_off(reviews: Any) -> None:
    splits = reviews()
    assert list(splits) == ["train", "test", "validation"]
    rows = [(example.inputs["text"], example.gold) for split in splits.values() for example in split]
    assert sorted(rows) == sorted((text, label) for text, label in REVIEWS if label != "plot")
    sides = [set(texts(split)) for split in splits.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert (Stub.given.text_column_name, Stub.given.label_column_name) == ("quote", "verdict")
    assert splits["test"].notes["cut_from_train"] == "15 % of train by a hash, the same for every seed"
    assert splits["train"].notes["without_test"] == splits["test"].notes["cut_from_train"]
    assert splits["train"].notes["without_dev"] == "10 % of train by a hash, the same for every seed"
    assert {split.notes["without"] for split in splits.values()} == {"rows whose verdict is plot"}
    assert splits["train"][0].where.endswith("reviews.csv:4")


def test_the_test_split_of_an_alias_is_the_same_for_every_seed_and_none_of_it_is_in_dev(reviews: Any) -> None:
    one, other = reviews(seed=0), reviews(seed=1, validation_split_percentage=50)
    same = reviews(seed=1)
    assert texts(one["test"]) == texts(other["test"]) != []
    assert texts(one["validation"]) == texts(same["validation"]) != texts(other["validation"])
    # As for dev: scores of one test split cannot be compared with those of another.
    assert texts(one["test"])[:5] == ["t0", "t3", "t23", "t33", "t42"]
    assert 0.08 < len(one["test"]) / 200 < 0.22 and 0.05 < len(one["validation"]) / 170 < 0.16


def test_columns_that_the_user_names_win_over_the_aliass(reviews: Any) -> None:
    splits = reviews(label_column_name="quote")
    assert (Stub.given.text_column_name, Stub.given.label_column_name) == ("quote", "quote")
    assert [example.gold for example in splits["test"]] == texts(splits["test"])
    assert sum(map(len, splits.values())) == 200  # what the alias drops, it drops by its own column


def test_a_test_file_of_the_users_stands_in_whole_and_nothing_is_cut_off(reviews: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("verdict,quote\nfresh,a\nplot,b\n")
    splits = reviews(test_file=str(path))
    assert texts(splits["test"]) == ["a", "b"] and "without" not in splits["test"].notes
    assert len(splits["train"]) + len(splits["validation"]) == 200


def test_no_test_split_is_cut_off_a_users_own_file(reviews: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("label,text\n" + "".join(f"plot,{text}\n" for text, _ in REVIEWS))
    splits = reviews(train_file=str(path))
    assert list(splits) == ["train", "validation"] and len(splits["train"]) + len(splits["validation"]) == 300


def test_what_is_dropped_changes_the_digest(reviews: Any) -> None:
    digests = [reviews({**OPTIONS, "drop": drop})["train"].notes["digest"] for drop in ([], ["plot"], ["plot", "x"])]
    assert len(set(digests)) == 3


def test_a_test_split_that_would_leave_one_side_empty_is_refused(train: dict[str, Examples]) -> None:
    few = {"train": train["train"].select(range(1))}
    with pytest.raises(DataError, match=r"train has 1 example, of which 15 % for test leaves.*Give --test_file"):
        with_test(few, {"test_percentage": 15})


def test_an_alias_says_nothing_to_a_task_without_such_settings() -> None:
    assert with_options(common(), OPTIONS) == common()
    told = with_options(Settings(label_column_name="mine"), {**OPTIONS, "tag_scheme": "iob2", "columns": ["a"]})
    assert told == Settings(text_column_name="quote", label_column_name="mine", tag_scheme="iob2")


@pytest.mark.network
def test_rotten_tomatoes_has_its_published_reviews_in_splits_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits_module, "load_task", lambda *_: Stub)
    _, splits, source = splits_module.read_splits("stub", WithColumns(dataset_name="rotten_tomatoes"))
    assert source is not None and source.options == {**OPTIONS, "text_column": "text", "label_column": "category"}
    assert {name: len(split) for name, split in splits.items()} == {"train": 9796, "validation": 1088, "test": 1924}
    found = Counter(example.gold for split in splits.values() for example in split)
    assert found == {"fresh": 7403, "rotten": 5405}


# tokens ---------------------------------------------------------------------------------------------------------------


def checked(tmp_path: Path, base: Path, sentences: list[str], *, allowed: bool = False) -> list[str]:
    from adapters.models.base_model import open_base

    said: list[str] = []
    splits = read(train_file=str(write(tmp_path / "a.conll", sentences)))
    check_unknown_tokens(splits["train"], open_base(str(base)), allowed=allowed, say=said.append)
    return said


def test_a_text_that_the_tokenizer_knows_passes_without_a_word(tmp_path: Path, tiny_bert: Path) -> None:
    assert checked(tmp_path, tiny_bert, ["london"] * 95 + ["Ж"] * 5) == []  # 2.5 % of the tokens


def test_more_than_5_percent_unknown_tokens_are_a_warning(tmp_path: Path, tiny_bert: Path) -> None:
    (said,) = checked(tmp_path, tiny_bert, ["london"] * 80 + ["Ж"] * 10 + ["Щ"] * 10)
    assert said == f"warning: 10% of the tokens of train are unknown to {tiny_bert.name}, for example in 'Ж', 'Щ'"


def test_more_than_30_percent_unknown_tokens_are_refused_unless_allowed(tmp_path: Path, tiny_bert: Path) -> None:
    sentences = ["london"] * 20 + ["Ж"] * 80
    told = r"40% of the tokens of train are unknown.*in 'Ж': this base.*e5 reads a hundred.*--allow_unknown_tokens"
    with pytest.raises(ModelError, match=told):
        checked(tmp_path, tiny_bert, sentences)
    (said,) = checked(tmp_path, tiny_bert, sentences, allowed=True)
    assert said.startswith("warning: 40% of the tokens")


def test_only_the_first_thousand_examples_are_looked_at(tmp_path: Path, tiny_bert: Path) -> None:
    assert checked(tmp_path, tiny_bert, ["london"] * 1000 + ["Ж"] * 3000) == []
