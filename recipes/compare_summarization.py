"""Which approach for summaries: full fine-tuning, LoRA, zero- and few-shot prompts of one language model compared.

It needs your data.

    accelerate launch recipes/compare_summarization.py --train_file train.jsonl --test_file test.jsonl
    python recipes/compare_summarization.py --train_file articles.csv --methods lora,prefix,few_shot --full

Expect 4 rows, a verdict by ROUGE-L and a page.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_summarization",
    "model_name_or_path": "smollm2",
    "methods": ["full", "lora", "zero_shot", "few_shot"],
    "shots": 2,
    "max_train_samples": 100,
    "max_eval_samples": 10,
    "max_predict_samples": 50,
    "sample_selection": "random",
    "max_tokens_per_batch": 512,
    "num_train_epochs": 2.0,
    "max_new_tokens": 32,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="summarization", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
