"""Few-shot prompting for named entities: a causal language model on CoNLL-2003, nothing trained.

    accelerate launch recipes/prompt_ner.py
    python recipes/prompt_ner.py --shots 10 --prompt ner_json --model_name_or_path gpt2
    python recipes/prompt_ner.py --method zero_shot

Expect a test entity F1 of about 31 on the first 300 sentences, with --decoding free 51 (docs/results.md).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/prompt_ner", "model_name_or_path": "smollm2", "max_predict_samples": 300}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="ner", method=("few_shot", "zero_shot"), defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
