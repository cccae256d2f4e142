"""Named entities and sentiment from one base, swapped in a batch: adapters are trained if missing, loaded, asked.

    accelerate launch recipes/swap_tasks.py
    python recipes/swap_tasks.py --max_train_samples 500 --output_dir runs/quick

Expect an entity F1 of about 81 and an accuracy of about 75, and a switch of 10 µs (docs/results.md).
"""

from adapters.recipe import swap  # missing? AdapterHub's package hides ours: pip uninstall adapters; pip install -e .

DEFAULTS = {
    "output_dir": "runs/swap_tasks",
    "num_train_epochs": 2.0,
    "max_eval_samples": 300,
    "max_predict_samples": 300,
    "sample_selection": "random",
}
WANTED = {
    "ner": {"task": "ner", "method": "lora", "dataset": "conll2003", "max_train_samples": 3000},
    "mood": {"task": "classification", "method": "prefix", "dataset": "rotten_tomatoes", "max_train_samples": 3000},
}
REQUESTS = [
    ("ner", "Ada Lovelace met Charles Babbage in London."),
    ("mood", "A joy from the first frame to the last."),
    ("ner", "Siemens will build trains for Deutsche Bahn, said Roland Busch."),
    ("mood", "Two hours of my life that I shall not get back."),
]


def main() -> None:
    """Train what is missing, load, answer."""
    with swap(__doc__, wanted=WANTED, defaults=DEFAULTS) as swapping:
        swapping.train_missing()
        bank = swapping.load()
        swapping.answer(bank, REQUESTS)


if __name__ == "__main__":
    main()
