"""Which approach for translation: full fine-tuning, LoRA, zero- and few-shot prompts of one language model compared.

It needs your data.

    accelerate launch recipes/compare_translation.py --train_file train.en --source_lang en --target_lang de
    python recipes/compare_translation.py --train_file pairs.csv --source_lang de --target_lang en --full

Expect 4 rows, a verdict by chrF and a page.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_translation",
    "model_name_or_path": "smollm2",
    "methods": ["full", "lora", "zero_shot", "few_shot"],
    "max_train_samples": 200,
    "max_eval_samples": 20,
    "max_predict_samples": 50,
    "sample_selection": "random",
    "max_tokens_per_batch": 256,
    "num_train_epochs": 2.0,
    "max_new_tokens": 32,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="translation", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
