"""Few-shot prompting for answers to questions about a text: a causal language model, nothing trained.

It needs your data, such as SQuAD's files: the shots are drawn from --train_file.

    accelerate launch recipes/prompt_question_answering.py --train_file train.json --test_file test.json
    python recipes/prompt_question_answering.py --train_file questions.csv --prompt question_answering_span

Expect an answer F1 of about 26 (50 questions of XQuAD).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {
    "output_dir": "runs/prompt_question_answering",
    "model_name_or_path": "smollm2",
    "shots": 3,
    "max_new_tokens": 32,
    "max_predict_samples": 200,
}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="question_answering", method=("few_shot", "zero_shot"), defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
