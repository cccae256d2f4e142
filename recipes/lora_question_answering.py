"""LoRA for answers marked in a text: a BERT-class encoder. It needs your data, such as SQuAD's files.

    accelerate launch recipes/lora_question_answering.py --train_file train.json --test_file test.json
    python recipes/lora_question_answering.py --train_file questions.csv --model_name_or_path bert-base-cased

Expect an answer F1 of about 35 from 300 questions of XQuAD in 5 epochs (the other articles' first 100).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/lora_question_answering"}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="question_answering", method="lora", defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
