"""Few-shot prompting for summaries: a causal language model that writes them, nothing trained.

It needs your data: the shots are drawn from --train_file.

    accelerate launch recipes/prompt_summarization.py --train_file train.jsonl --test_file test.jsonl
    python recipes/prompt_summarization.py --train_file articles.csv --method zero_shot --prompt summarization_zero

Expect a ROUGE-L of about 20 (50 texts of SciTLDR).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {
    "output_dir": "runs/prompt_summarization",
    "model_name_or_path": "smollm2",
    "shots": 2,
    "max_predict_samples": 100,
}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="summarization", method=("few_shot", "zero_shot"), defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
