"""SetFit for text classification with few examples: a sentence encoder on 64 film reviews.

    accelerate launch recipes/setfit_classification.py
    python recipes/setfit_classification.py --train_file train.csv --test_file test.csv

Expect a test accuracy of about 66.3 in about 3 minutes on one CPU core.
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/setfit_classification", "max_train_samples": 64}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="classification", method="setfit", defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
