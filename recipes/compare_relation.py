"""Which approach for relations: majority, TF-IDF, full, head, LoRA, prefix, zero- and few-shot prompts compared.

It needs your data, such as SemEval-2010 task 8's file, or a table of texts with <e1>…</e1> and <e2>…</e2>.

    accelerate launch recipes/compare_relation.py --train_file TRAIN_FILE.TXT --test_file TEST_FILE_FULL.TXT
    python recipes/compare_relation.py --train_file relations.csv --methods lora,few_shot --full

Expect 8 rows, a verdict by the macro F1 of relations and a page.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_relation",
    "prompt_model_name_or_path": "smollm2",
    "max_train_samples": 500,
    "max_eval_samples": 100,
    "max_predict_samples": 200,
    "sample_selection": "random",
    "max_tokens_per_batch": 256,
    "num_train_epochs": 5.0,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="relation_extraction", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
