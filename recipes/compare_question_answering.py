"""Which approach for answers to questions about a text: full fine-tuning, head, LoRA, prefix, prompts compared.

It needs your data, such as SQuAD's files. The encoder marks its answers, the prompted model writes them.

    accelerate launch recipes/compare_question_answering.py --train_file train.json --test_file test.json
    python recipes/compare_question_answering.py --train_file questions.csv --methods lora,few_shot --full

Expect 6 rows, a verdict by answer F1 and a page.
"""

from adapters.recipe import compare  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/compare_question_answering",
    "prompt_model_name_or_path": "smollm2",
    "shots": 3,
    "max_train_samples": 300,
    "max_eval_samples": 50,
    "max_predict_samples": 100,
    "sample_selection": "random",
    "num_train_epochs": 5.0,
    "max_new_tokens": 32,
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with compare(__doc__, task="question_answering", defaults=DEFAULTS) as comparison:
        comparison.check()
        comparison.run_all()
        comparison.save_and_print()


if __name__ == "__main__":
    main()
