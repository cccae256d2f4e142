"""LoRA for relation extraction: a BERT-class encoder on a text with two marked entities.

It needs your data, such as SemEval-2010 task 8's file, or a table of texts with <e1>…</e1> and <e2>…</e2>.

    accelerate launch recipes/lora_relation.py --train_file TRAIN_FILE.TXT --test_file TEST_FILE_FULL.TXT
    python recipes/lora_relation.py --train_file relations.csv --model_name_or_path gpt2

Expect F1 84.6 on SemEval-2010 task 8 (macro, by its own count), and a row for each relation (docs/results.md).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/lora_relation", "num_train_epochs": 5.0}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="relation_extraction", method="lora", defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
