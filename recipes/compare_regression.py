"""Which approach for the number of a text or of a pair of texts: mean, TF-IDF, full, head, LoRA, prefix compared.

It needs your data. A number is not prompted.

    accelerate launch recipes/compare_regression.py --train_file train.tsv --test_file test.tsv
    python recipes/compare_regression.py --train_file reviews.csv --label_column_name stars --full

Expect 6 rows, a verdict by Pearson's correlation and a page.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_regression",
    "max_train_samples": 300,
    "max_eval_samples": 100,
    "max_predict_samples": 200,
    "max_tokens_per_batch": 256,
    "num_train_epochs": 5.0,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="regression", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
