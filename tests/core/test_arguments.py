"""Settings from flags in all their forms, or from a file that says the same."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.main import command_names, load_command
from adapters.core import arguments, flags
from adapters.core.errors import SettingsError
from adapters.core.files import write_json
from adapters.core.settings import CommonSettings


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One field of each kind."""

    seed: int = 0
    """Seed."""
    max_length: int = 256
    """Tokens."""
    max_train_steps: int | None = None
    """Steps."""
    learning_rate: float = 1e-4
    """Rate."""
    dropout: float | None = None
    """Dropout."""
    output_dir: str = "runs/run"
    """Folder."""
    train_file: str | None = None
    """File."""
    mixed_precision: str = "auto"
    """Precision."""
    repair_tags: bool = False
    """Repair."""
    with_tracking: bool = True
    """Track."""
    train_embeddings: bool | None = None
    """Either, or as the model asks."""
    metrics: list[str] = field(default_factory=list)
    """Metrics."""
    seeds: list[int] = field(default_factory=list)
    """Seeds."""


class Colour(Enum):
    """Choices by name."""

    RED = 1


@dataclass(frozen=True, kw_only=True)
class Kinds(Sample):
    """Kinds that our own settings do not have."""

    split: Literal["train", "test"] = "test"
    """Choice."""
    colour: Colour | None = None
    """Choice by name."""
    input: Path | None = None
    """File."""


def parse(*argv: str, **defaults: Any) -> Sample:
    found = arguments.parse(Sample, defaults, "A recipe.", argv)
    assert isinstance(found, Sample)
    return found


def changed(found: Any) -> dict[str, Any]:
    """What differs from the defaults."""
    own = asdict(type(found)())
    return {name: value for name, value in asdict(found).items() if value != own[name]}


@pytest.mark.parametrize(
    "line, expected",
    [
        ("", {}),
        ("--seed 3", {"seed": 3}),
        ("--seed=3", {"seed": 3}),
        ("--seed 3 --seed 4", {"seed": 4}),
        ("--seeds 3 --seed 4 --seeds=5,6", {"seeds": [3, 5, 6], "seed": 4}),
        ("--seed -3", {"seed": -3}),
        ("--seed=-3", {"seed": -3}),
        ("--learning_rate 5e-5", {"learning_rate": 5e-5}),
        ("--learning-rate 5e-5", {"learning_rate": 5e-5}),
        ("--learning-rate=-1e-3", {"learning_rate": -1e-3}),
        ("--learning_rate -.5", {"learning_rate": -0.5}),
        ("--learning_rate 2", {"learning_rate": 2.0}),
        ("--max_seq_length 64", {"max_length": 64}),
        ("--max-seq-length=64", {"max_length": 64}),
        ("--max_train_steps 7", {"max_train_steps": 7}),
        ("--max_train_steps none", {}),
        ("--train_embeddings --seed 2", {"train_embeddings": True, "seed": 2}),
        ("--no-train_embeddings", {"train_embeddings": False}),
        ("--train_embeddings false", {"train_embeddings": False}),
        ("--train_embeddings none", {}),
        ("--metrics -,-1,-x --seed 2", {"metrics": ["-", "-1", "-x"], "seed": 2}),
        ("--metrics=--", {"metrics": ["--"]}),
        ("--metrics a,,b,", {"metrics": ["a", "b"]}),
        ("--metrics a - b", {"metrics": ["a", "-", "b"]}),
        ("--train_file -x", {"train_file": "-x"}),
        ("--output_dir=--x", {"output_dir": "--x"}),
        ("--max_train_steps None --dropout 0.1", {"dropout": 0.1}),
        ("--dropout -0.1", {"dropout": -0.1}),
        ("--output_dir runs/a-b_c", {"output_dir": "runs/a-b_c"}),
        ("--output_dir=a=b", {"output_dir": "a=b"}),
        ("--train_file x.json", {"train_file": "x.json"}),
        ("--train_file=x.json", {"train_file": "x.json"}),
        ("--repair_tags", {"repair_tags": True}),
        ("--repair-tags", {"repair_tags": True}),
        ("--repair_tags true", {"repair_tags": True}),
        ("--repair_tags True", {"repair_tags": True}),
        ("--repair_tags=1", {"repair_tags": True}),
        ("--repair_tags yes --seed 1", {"repair_tags": True, "seed": 1}),
        ("--repair_tags --seed 1", {"repair_tags": True, "seed": 1}),
        ("--no_repair_tags", {}),
        ("--repair_tags --no_repair_tags", {}),
        ("--no-with-tracking", {"with_tracking": False}),
        ("--no_with_tracking --seed 1", {"with_tracking": False, "seed": 1}),
        ("--with_tracking false", {"with_tracking": False}),
        ("--with_tracking=OFF", {"with_tracking": False}),
        ("--with_tracking 0", {"with_tracking": False}),
        ("--metrics a", {"metrics": ["a"]}),
        ("--metrics a b", {"metrics": ["a", "b"]}),
        ("--metrics a,b", {"metrics": ["a", "b"]}),
        ("--metrics=a,b", {"metrics": ["a", "b"]}),
        ("--metrics a, b --seed 1", {"metrics": ["a", "b"], "seed": 1}),
        ("--metrics", {}),
        ("--metrics --seed 1", {"seed": 1}),
        ("--seeds 1 2 -3", {"seeds": [1, 2, -3]}),
        ("--seeds=1,2,-3", {"seeds": [1, 2, -3]}),
    ],
)
def test_flags_in_all_their_forms(line: str, expected: dict[str, Any]) -> None:
    assert changed(parse(*line.split())) == expected


def test_a_recipes_defaults_are_between_the_class_and_the_flags() -> None:
    found = parse("--seed", "5", seed=3, max_length=64, metrics=["a"])
    assert (found.seed, found.max_length, found.metrics) == (5, 64, ["a"])
    assert parse("--metrics", metrics=["a"]).metrics == []


def test_a_default_that_names_no_setting_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="sead"):
        parse(sead=3)


@pytest.mark.parametrize(
    "line, message",
    [
        ("--sed 3", "--sed: there is no such flag: did you mean '--seed'"),
        ("--learning_rat 3", "--learning_rat: there is no such flag: did you mean '--learning_rate'"),
        ("--no_seed", "--no_seed: there is no such flag: did you mean"),
        ("--repair_tag", "--repair_tag: there is no such flag: did you mean '--repair_tags'"),
        ("--zzz", "--zzz: there is no such flag: known: --dropout, --learning_rate"),
        ("--", "--: there is no such flag"),
        ("3", "'3' is not a flag: flags begin with --"),
        ("-s 3", "'-s' is not a flag: flags begin with --"),
        ("run.txt", "'run.txt' is not a flag"),
        ("a.toml --seed 3", "a.toml: a settings file takes the place of all flags"),
        ("--seed", "--seed takes one value, found 0."),
        ("--seed 1 2", "--seed takes one value, found 2: 1 2."),
        ("--repair_tags maybe", "--repair_tags maybe: must be true or false"),
        ("--repair_tags true false", "--repair_tags true false: must be true or false"),
    ],
)
def test_what_is_no_flag_is_refused(line: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(*line.split())
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "line, message",
    [
        ("--seed x", "--seed x: must be a whole number, such as 8."),
        ("--seed 1.5", "--seed 1.5: must be a whole number, such as 8."),
        ("--seed none", "--seed none: must be a whole number, such as 8."),
        ("--seed=", "--seed '': must be a whole number, such as 8."),
        ("--seed 1,2", "--seed 1,2: must be a whole number, such as 8."),
        ("--max_train_steps x", "--max_train_steps x: must be a whole number, such as 8, or none."),
        ("--learning-rate fast", "--learning_rate fast: must be a number, such as 1e-3."),
        ("--learning-rate 1,5", "--learning_rate 1,5: must be a number, such as 1e-3."),
        ("--dropout=low", "--dropout low: must be a number, such as 1e-3, or none."),
        ("--seeds 1 two", "--seeds two: each value must be a whole number, such as 8."),
        ("--split tset", "--split tset: did you mean 'test'?"),
        ("--split 1", "--split 1: known: test, train"),
        ("--colour rde", "--colour rde: did you mean 'RED'?"),
        ("--input=", "--input '': must be the path of a file or a folder, or none."),
        ("--train_embeddings x", "--train_embeddings x: must be true or false (or use --train_embeddings, --no_train"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_flag_and_what_is_needed(line: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        arguments.parse(Kinds, {}, "", line.split())
    assert str(raised.value).startswith(message)


def test_a_choice_is_read() -> None:
    found = arguments.parse(Kinds, {}, "", ["--split", "train", "--colour", "RED", "--input", "a"])
    assert (found.split, found.colour, found.input) == ("train", Colour.RED, Path("a"))


def test_every_kind_of_setting_has_words_for_a_wrong_value() -> None:
    kinds = dict[Any, type]()
    for name in command_names():
        flags_of = load_command(name).settings()
        unused = {*arguments.positionals(flags_of)}
        hints = get_type_hints(flags_of)
        kinds |= {hints[one.name]: flags_of for one in fields(flags_of) if one.name not in unused}
    inner = {one for hint in kinds for one in (get_args(hint) or [hint])} - {type(None)}
    assert inner == {str, int, float, bool, Path}, "tell in arguments.py what a value of a new kind must be"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_flags_with_underscores_and_ends_with_0(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(flag)
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--learning_rate" in shown and "A recipe." in shown and "Tokens." in shown


# files ----------------------------------------------------------------------------------------------------------------

VALUES = {
    "seed": -3,
    "max_length": 64,
    "max_train_steps": None,
    "learning_rate": 5e-05,
    "dropout": 0.25,
    "output_dir": "runs/a b",
    "train_file": "x,y.jsonl",
    "mixed_precision": "no",
    "repair_tags": True,
    "with_tracking": False,
    "metrics": ["a", "b"],
    "seeds": [1, -2],
}


def test_files_of_every_kind_say_the_same_as_flags(tmp_path: Path) -> None:
    expected = Sample(**VALUES)  # type: ignore[arg-type]
    toml = "\n".join(f"{name} = {json.dumps(value)}" for name, value in VALUES.items() if value is not None)
    texts = {
        "a.toml": toml,
        "a.json": json.dumps(VALUES),
        "a.yaml": yaml.safe_dump(VALUES),
        "a.yml": "\n".join(f"{name}: {json.dumps(value)}" for name, value in VALUES.items()),
        "A.TOML": toml,
        "B.JSON": json.dumps(VALUES, indent=1),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert parse(str(tmp_path / name)) == expected, name
        (tmp_path / name).write_text("\ufeff" + text, encoding="utf-8")
        assert parse(str(tmp_path / name)) == expected, name


@pytest.mark.parametrize(
    "text, expected",
    [
        ("mixed_precision: no", {"mixed_precision": "no"}),  # YAML 1.1 would read a truth value
        ("learning_rate: 1e-5", {"learning_rate": 1e-5}),  # and this as a string
        ("repair_tags: yes", {"repair_tags": True}),
        ("learning-rate: 0.5\nmax_seq_length: 9", {"learning_rate": 0.5, "max_length": 9}),
        ("metrics: [a, b]", {"metrics": ["a", "b"]}),
        ("metrics:\n- a\n- b", {"metrics": ["a", "b"]}),
        ("metrics: a", {"metrics": ["a"]}),
        ("metrics: []", {}),
        ("metrics:", {}),
        ("metrics: null\nseeds: ~", {}),
        ("max_train_steps: null", {}),
        ("train_file:", {}),
        ("output_dir: 2024-01-01", {"output_dir": "2024-01-01"}),
        ("seed: -3", {"seed": -3}),
    ],
)
def test_yaml_as_people_write_it(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert changed(parse(str(path))) == expected


def test_the_settings_of_a_run_can_be_given_back(tmp_path: Path) -> None:
    # As recipe.py writes them.
    before = parse("--seed", "3", "--metrics", "a", "b", "--no_with_tracking", "--dropout", "0.5")
    path = tmp_path / "settings.json"
    write_json(path, {"task": "ner", "method": "lora", **arguments.as_dict(before)})
    assert parse(str(path)) == before


def test_the_common_settings_can_be_given_back(tmp_path: Path) -> None:
    before = arguments.parse(
        CommonSettings, {}, "", ["--train_file", "a.conll", "--mixed_precision", "no", "--seed", "2"]
    )
    path = tmp_path / "settings.json"
    write_json(path, {"task": "ner", "method": "lora", **arguments.as_dict(before)})
    assert arguments.parse(CommonSettings, {"seed": 9, "max_length": 3}, "", [str(path)]) == before


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.toml", b"seed = ", "a.toml: not valid toml"),
        ("a.toml", b"seed = 1\nseed = 2", "a.toml: not valid toml"),
        ("a.json", b'{"seed": 1', "a.json: not valid json"),
        ("a.json", b"[1]", "a.json: must contain settings by name, found list"),
        ("a.json", b"\xff\xfe{", "a.json: cannot be read"),
        ("a.json", b"[" * 100_000, "a.json: not valid json"),
        ("a.yaml", b"seed: [1", "a.yaml: not valid yaml"),
        ("a.yaml", b"\xe9", "a.yaml: cannot be read"),
        ("a.yaml", b"", "a.yaml: must contain settings by name"),
        ("a.yaml", b"seed", "a.yaml: must contain settings by name, found str"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []", "a.yaml: "),
        ("a.yaml", b"sed: 1", "--sed: there is no such flag: did you mean '--seed'"),
        ("a.toml", b"[training]\nseed = 1", "a.toml: training: must be a value or a list of values"),
        ("a.json", b'{"output_dir": {"a": 1}}', "a.json: output_dir: must be a value or a list of values"),
        ("a.json", b'{"seeds": [[1]]}', "a.json: seeds: must be a value or a list of values"),
        ("a.json", b'{"output_dir": null}', "a.json: output_dir: must not be empty"),
        ("a.yaml", b"seed:", "a.yaml: seed: must not be empty"),
        ("a.json", b'{"seed": "x"}', "--seed"),
        ("a.json", b'{"seed": 1.0}', "--seed"),
        ("a.json", b'{"seed": [1, 2]}', "--seed takes one value, found 2"),
        ("a.json", b'{"repair_tags": "maybe"}', "--repair_tags maybe: must be true or false"),
    ],
)
def test_a_broken_file_is_refused_with_what_is_wrong(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        parse(str(tmp_path / name))
    assert message in str(raised.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    for name in ("missing.toml", "folder.json"):
        with pytest.raises(SettingsError, match=rf"{name}: cannot be read"):
            parse(str(tmp_path / name))


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Sample,
        seed=st.integers(-(10**6), 10**6),
        max_train_steps=st.none() | st.integers(1, 99),
        learning_rate=st.floats(1e-9, 1e9),
        output_dir=words.filter(lambda word: not word.startswith("-")),
        repair_tags=st.booleans(),
        metrics=st.lists(words.filter(lambda word: "," not in word and not word.startswith("-")), max_size=3),
        seeds=st.lists(st.integers(-9, 9), max_size=3),
    )
)
def test_any_settings_written_down_are_read_back(tmp_path_factory: pytest.TempPathFactory, before: Sample) -> None:
    path = tmp_path_factory.mktemp("settings") / "settings.json"
    write_json(path, asdict(before))
    assert parse(str(path)) == before


def test_commas_separate_words_of_a_command_and_not_what_came_as_a_list(tmp_path: Path) -> None:
    assert parse("--metrics", "a, b", "c").metrics == ["a", "b", "c"]
    path = tmp_path / "a.toml"
    path.write_text('metrics = ["yes, please", "no"]\n')
    assert parse(str(path)).metrics == ["yes, please", "no"]
    path.write_text('metrics = "a,b"\n')
    assert parse(str(path)).metrics == ["a", "b"]
    words = flags.as_flags({"metrics": ["yes, please", "-,-"], "seed": 3})
    assert (found := parse(*words)).metrics == ["yes, please", "-,-"] and found.seed == 3
    assert flags.peek(words, "metrics") == ["yes, please", "-,-"]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Sentences."""

    ask: Annotated[list[str], arguments.WHOLE] = field(default_factory=list)
    """Questions."""


def test_commas_do_not_separate_sentences() -> None:
    found = arguments.parse(Asking, {}, "Ask.", ["--ask", "Hello, where is it, please", "-, and -", ""])
    assert found.ask == ["Hello, where is it, please", "-, and -", ""]


# peek -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, expected",
    [
        ("", []),
        ("--seed 1", []),
        ("--plugin_dir a b --seed 1", ["a", "b"]),
        ("--plugin-dir a,b --seed 1", ["a", "b"]),
        ("--plugin_dir=a,b c --seed 1 --plugin_dir d", ["a", "b", "c", "d"]),
        ("--plugin_dir --seed 1", []),
    ],
)
def test_a_list_can_be_peeked_at_before_the_other_flags_are_known(line: str, expected: list[str]) -> None:
    assert flags.peek(line.split(), "plugin_dir") == expected


def test_a_list_can_be_peeked_at_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('plugin_dir = ["a", "b"]\nseed = 1\n')
    assert flags.peek([str(path)], "plugin_dir") == ["a", "b"]
    path.write_text("seed = 1\n")
    assert flags.peek([str(path)], "plugin_dir") == []


# positional arguments -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Places:
    """Positional arguments among flags."""

    artifact: Annotated[Path, arguments.POSITIONAL]
    """Folder."""
    texts: Annotated[list[str], arguments.POSITIONAL] = field(default_factory=list)
    """Texts."""
    seed: int = 0
    """Seed."""
    json: bool = False
    """Print JSON."""
    labels: list[str] = field(default_factory=list)
    """Labels."""


@dataclass(frozen=True, kw_only=True)
class Several:
    """A list that is needed, and a flag that is."""

    runs: Annotated[list[Path], arguments.POSITIONAL]
    """Folders."""
    output_dir: Path
    """Folder."""


def parse_places(*argv: str, kind: type = Places) -> Any:
    return arguments.parse(kind, {}, "A command.", argv, program="taskswap do")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["a"], {"artifact": Path("a")}),
        (["a", "b c", ""], {"artifact": Path("a"), "texts": ["b c", ""]}),
        (["a", "--seed", "3", "b"], {"artifact": Path("a"), "texts": ["b"], "seed": 3}),
        (["--seed=3", "a", "b"], {"artifact": Path("a"), "texts": ["b"], "seed": 3}),
        (["--json", "a", "b"], {"artifact": Path("a"), "texts": ["b"], "json": True}),
        (["--json", "false", "a"], {"artifact": Path("a")}),
        (["--no-json", "a", "b"], {"artifact": Path("a"), "texts": ["b"]}),
        (["a", "--labels", "x", "y", "--seed", "1", "b"],
         {"artifact": Path("a"), "labels": ["x", "y"], "seed": 1, "texts": ["b"]}),
        (["a", "--labels=x,y", "b"], {"artifact": Path("a"), "labels": ["x", "y"], "texts": ["b"]}),
        (["a", "--labels", "x", "--", "--b", "-h"], {"artifact": Path("a"), "labels": ["x"], "texts": ["--b", "-h"]}),
        (["a", "-5 degrees", "-x", "---"[:1]], {"artifact": Path("a"), "texts": ["-5 degrees", "-x", "-"]}),
        (["a", "--seed", "-3"], {"artifact": Path("a"), "seed": -3}),
        (["a.json"], {"artifact": Path("a.json")}),
        (["a", "None", "true", "{x}"], {"artifact": Path("a"), "texts": ["None", "true", "{x}"]}),
    ],
)  # fmt: skip
def test_positional_arguments_stand_anywhere_among_flags(argv: list[str], expected: dict[str, Any]) -> None:
    found = parse_places(*argv)
    assert isinstance(found, Places)
    assert {name: value for name, value in asdict(found).items() if value not in (0, False, [])} == expected


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        (Places, "", "ARTIFACT is missing. See taskswap do --help."),
        (Places, "--seed 1", "ARTIFACT is missing"),
        (Places, "a --seed", "--seed takes one value, found 0."),
        (Places, "a --sead 1", "--sead: there is no such flag: did you mean '--seed'"),
        (Places, "--artifact a", "--artifact: there is no such flag"),
        (Several, "--output_dir x", "RUN is missing"),
        (Several, "a b", "--output_dir is missing"),
    ],
)
def test_an_argument_that_is_missing_or_unknown_is_named(kind: type, line: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_places(*line.split(), kind=kind)
    assert message in str(raised.value)


def test_a_required_list_and_a_required_flag_are_read() -> None:
    assert parse_places("a", "--output-dir", "o", "b", kind=Several) == Several(
        runs=[Path("a"), Path("b")], output_dir=Path("o")
    )


def test_help_shows_positional_arguments_and_no_empty_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_places("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: taskswap do [-h]") and "ARTIFACT [TEXT …]" in shown
    assert "--json [true|false]" in shown and "(default: )" not in shown and "None" not in shown
    assert arguments.flags_of(Places) == ["--seed", "--json", "--labels", "--help"]


@dataclass(frozen=True, kw_only=True)
class Without(Sample):
    """A setting of another class is no flag here."""

    seed: Annotated[int, arguments.UNUSED] = 7


def test_a_setting_that_a_command_does_not_use_is_no_flag_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert arguments.parse(Without, {}, "", []).seed == 7
    with pytest.raises(SettingsError, match="--seed: there is no such flag"):
        arguments.parse(Without, {}, "", ["--seed", "3"])
    with pytest.raises(SystemExit):
        arguments.parse(Without, {}, "", ["--help"])
    assert "--seed " not in capsys.readouterr().out and "--seed" not in arguments.flags_of(Without)


def test_commands_in_a_description_have_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = "What.\n\ntaskswap a --b\ntaskswap c\n\n    python x.py\n    python y.py\n\nMore\nwords."
    with pytest.raises(SystemExit):
        arguments.parse(Sample, {}, text, ["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert {"taskswap a --b", "taskswap c", "    python x.py", "    python y.py", "More words."} <= set(lines)


@dataclass(frozen=True, kw_only=True)
class Described:
    """Texts of several lines."""

    size: int = 1
    """Size of what is read at once, in tokens; longer ones are split into windows.
    Also --window. Not used with
    --whole
    (which reads all); or
    1 where nothing else is said."""
    kept: int = 1
    """First paragraph, of
    two lines.

    Second paragraph."""


@dataclass(frozen=True, kw_only=True)
class Redescribed(Described):
    """One field, of which something else is said."""

    kept: int = 2
    """Another text, of two
    lines."""


@pytest.mark.parametrize("width", ["80", "120"])
def test_a_text_of_several_lines_is_wrapped_by_paragraphs(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    shown = {}
    for kind in (Described, Redescribed):
        with pytest.raises(SystemExit):
            arguments.parse(kind, {}, "", ["--help"])
        shown[kind] = "\n".join(line.strip("│ ") for line in capsys.readouterr().out.rstrip("╰─╯\n").splitlines())
    size = re.search(r"--size INT\s+(Size of .*? said\.\s\(default:\s1\))", shown[Described], re.DOTALL)
    assert size is not None, shown[Described]
    lines = size[1].split("\n")
    room = int(width) - len("│ --size INT  ") - len(" │")
    assert all(len(line) + 1 + len(after.split()[0]) > room for line, after in pairwise(lines)), lines
    assert "First paragraph, of two lines.\n\nSecond paragraph." in shown[Described]
    assert "Another text, of two lines. (default: 2)" in shown[Redescribed]
