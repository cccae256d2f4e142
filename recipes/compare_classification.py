"""Which approach for text classification: majority, TF-IDF, full, head, LoRA, prefix, zero- and few-shot compared.

    accelerate launch recipes/compare_classification.py
    python recipes/compare_classification.py --train_file train.csv --test_file test.csv --full --output_dir runs/mine
    python recipes/compare_classification.py --model_name_or_path smollm2 --methods lora,few_shot --output_dir runs/one

Expect 8 rows, a verdict and a page; the default comparison has not been timed yet.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_classification",
    "prompt_model_name_or_path": "smollm2",
    "prompt": "classification_sentiment",
    "max_train_samples": 300,
    "max_eval_samples": 100,
    "max_predict_samples": 200,
    "max_tokens_per_batch": 256,
    "num_train_epochs": 5.0,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="classification", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
