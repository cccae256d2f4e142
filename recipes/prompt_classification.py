"""Few-shot prompting for text classification: a causal language model on film reviews, nothing trained.

    accelerate launch recipes/prompt_classification.py
    python recipes/prompt_classification.py --shots 16 --prompt classification_few --model_name_or_path gpt2
    python recipes/prompt_classification.py --method zero_shot

Expect a test accuracy of about 58 on 500 reviews (docs/results.md).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {
    "output_dir": "runs/prompt_classification",
    "model_name_or_path": "smollm2",
    "prompt": "classification_sentiment",
    "max_predict_samples": 500,
}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="classification", method=("few_shot", "zero_shot"), defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
