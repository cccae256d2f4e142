"""Few-shot prompting for translation: a causal language model that writes it, nothing trained.

It needs your data: the shots are drawn from --train_file.

    accelerate launch recipes/prompt_translation.py --train_file train.en --source_lang en --target_lang de
    python recipes/prompt_translation.py --train_file pairs.csv --source_lang de --target_lang en --method zero_shot

Expect a chrF of about 13 (50 captions of Multi30k, en to de).
"""

from adapters.recipe import start  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {"output_dir": "runs/prompt_translation", "model_name_or_path": "smollm2", "max_predict_samples": 100}


def main() -> None:
    """Read, build, fit, evaluate, save and print."""
    with start(__doc__, task="translation", method=("few_shot", "zero_shot"), defaults=DEFAULTS) as run:
        task = run.read_task()
        method = run.build_method()
        predictor = run.fit(task, method)
        evaluation = run.evaluate(predictor)
        run.save_and_print(evaluation)


if __name__ == "__main__":
    main()
