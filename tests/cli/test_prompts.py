"""`taskswap prompts`: the list, and one prompt filled with real examples and its tokens counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from adapters.cli.main import main


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    rows = [f"{'Ada' if n % 2 else 'Rome'} number {n},{'good' if n % 2 else 'bad'}" for n in range(40)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    base = tiny.gpt2(tmp_path / "gpt2")
    return ["--model_name_or_path", str(base), "--train_file", str(tmp_path / "texts.csv")]


def test_the_list_names_every_prompt_with_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 10
    assert any(line.startswith("ner_json ") and " ner " in line for line in lines)


def test_a_prompt_is_shown_as_the_model_reads_it(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    assert main(["prompts", "classification_zero", "--shots", "1", "--examples", "1", *flags]) == 0
    out = capsys.readouterr().out
    assert "  | Classify each text. The labels are: bad, good." in out
    assert "shot 1: " in out and "query, its answer" in out
    assert "answers compared, and their tokens: bad (" in out
    shown = [line[4:] for line in out.splitlines() if line.startswith("  | ")]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "gpt2")
    whole = len(tokenizer("\n".join(shown).rstrip(" ")).input_ids)
    total = next(line for line in out.splitlines() if line.startswith("  whole: "))
    assert abs(int(total.split()[1]) - whole) <= 2, "the parts are shown without what only separates them"
    assert "1 of 1 shot" in total


def test_a_prompt_is_shown_in_the_turns_of_the_bases_chat_template(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    (tmp_path / "gpt2" / "chat_template.jinja").write_text(turns + "{% if add_generation_prompt %}<me>{% endif %}")
    asked = ["prompts", "classification_zero", "--shots", "1", "--examples", "1", *flags]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert (
        "chat template: yes" in out and "  | <system>Classify each text. The labels are: bad, good.\n  | <user>" in out
    )
    assert out.count("  | Label:\n") == 2 and "  | <me>\n" in out
    assert main([*asked, "--apply_chat_template", "no"]) == 0
    plain = capsys.readouterr().out
    assert "chat template: no" in plain and "<user>" not in plain and "shot 1: " in plain


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classification_zer", "did you mean 'classification_zero'"),
        ("mine.toml", "no prompt or .toml file"),
        ("bad.toml", ":3: query: unknown placeholder {{txt}}"),
        ("odd.toml", "task = 'nerr': did you mean 'ner'"),
        ("broken.toml", "cannot be read as a prompt"),
    ],
)
def test_a_prompt_that_cannot_be_shown_is_said_why(
    name: str,
    message: str,
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'task = "classification"\nanswer = "label"\nquery = "{{text}} {{txt}}"\n'
    (tmp_path / "bad.toml").write_text(text)
    (tmp_path / "odd.toml").write_text(text.replace("classification", "nerr"))
    (tmp_path / "broken.toml").write_text("task = ")
    assert main(["prompts", name, *flags]) == 2
    assert message in capsys.readouterr().err


def test_more_shots_than_there_are_is_an_error(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "classification_few", "--shots", "100", *flags]) == 2
    assert "--shots 100: there are" in capsys.readouterr().err
