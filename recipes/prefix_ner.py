"""Prefix tuning for named entities: a BERT-class encoder on CoNLL-2003.

    accelerate launch recipes/prefix_ner.py
    python recipes/prefix_ner.py --train_file train.conll --test_file test.conll --model_name_or_path bert-base-cased

Expect a test entity F1 of about 82 in about 11 minutes on one CPU core (docs/results.md).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/prefix_ner"}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="ner", method="prefix", defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
