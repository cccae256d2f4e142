"""Which approach for named entities: majority, CRF, full fine-tuning, head, LoRA, prefix, zero- and few-shot compared.

    accelerate launch recipes/compare_ner.py
    python recipes/compare_ner.py --train_file train.conll --test_file test.conll --full --output_dir runs/mine
    python recipes/compare_ner.py --model_name_or_path smollm2 --methods lora,few_shot --output_dir runs/one_base

Settings are searched on dev first, with 6 trials each; --tuning_trials 0 takes the default ones, which is faster.
Expect 8 rows, LoRA first with an F1 of about 78 at default settings (--tuning_trials 0), in 6 minutes on two cores.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_ner",
    "prompt_model_name_or_path": "smollm2",
    "max_train_samples": 300,
    "max_eval_samples": 100,
    "max_predict_samples": 200,
    "sample_selection": "random",
    "max_tokens_per_batch": 256,
    "num_train_epochs": 5.0,
    "max_new_tokens": 32,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="ner", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
