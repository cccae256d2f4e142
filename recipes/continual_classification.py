"""Learn to classify task after task without forgetting: strategies compared on a sequence of your data sets.

    accelerate launch recipes/continual_classification.py --tasks trec.toml,agnews.toml,dbpedia.toml
    python recipes/continual_classification.py --tasks a.toml b.toml --strategies sequential ewc full/sequential
    python recipes/continual_classification.py --tasks banking.toml travel.toml --scenario class-incremental

Each .toml names its data: task = "classification", train_file = "train.jsonl", test_file = "test.jsonl"; a missing dev
is cut from train. Expect an accuracy of about 90 on average over TREC, AG News and DBpedia with an adapter for each,
70 sequentially, with 500 training texts each (docs/continual.md says what the columns mean).
"""

from adapters.recipe import continual  # missing? AdapterHub's package hides ours: pip uninstall adapters

DEFAULTS = {
    "output_dir": "runs/continual_classification",
    "max_train_samples": 500,
    "max_predict_samples": 500,
    "strategies": ["sequential", "joint", "separate", "adapter_per_task", "replay", "ewc", "lwf", "olora", "merge"],
}


def main() -> None:
    """Check, run what is missing, save and print."""
    with continual(__doc__, task="classification", defaults=DEFAULTS) as sequence:
        sequence.check()
        sequence.run_all()
        sequence.save_and_print()


if __name__ == "__main__":
    main()
