# %% [markdown]
# # Task after task
#
# A model that learns a second task forgets the first one, unless something is done about it. Two small tasks show by
# how much, and what an adapter for each of them costs.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap"], check=True)

SIZE = {}  # flags of every training, such as max_train_steps

# %%
import json
from pathlib import Path

folder = Path("runs/continual_data")
folder.mkdir(parents=True, exist_ok=True)
TASKS = {
    "orders": {"late": ["my parcel is late", "nothing has arrived"], "refund": ["I want my money back", "pay me back"]},
    "weather": {"rain": ["take an umbrella", "it pours outside"], "sun": ["a bright day", "not one cloud in the sky"]},
}
ENDINGS = ["", " today", ", I think", "!", " again", ", they said", " in Paris", " at noon", ", really", " as ever"]
for name, labels in TASKS.items():
    rows = [
        {"text": text + end, "label": label} for label, texts in labels.items() for text in texts for end in ENDINGS
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / f"{name}.toml").write_text(f'task = "classification"\ntrain_file = "{name}.jsonl"\n')

# %% [markdown]
# ## Compare strategies
#
# `sequential` is plain fine-tuning on one task after the other, `joint` has all data at once (the upper bound), and
# `adapter_per_task` keeps an adapter and a head for each task on a frozen base. Any flag of a training goes with it.

# %%
from adapters.cli.main import main

flags = [word for name, value in SIZE.items() for word in (f"--{name}", str(value))]
tasks = [str(folder / f"{name}.toml") for name in TASKS]
strategies = ["sequential", "joint", "adapter_per_task"]
flags += ["--tuning_trials", "0", "--num_train_epochs", "8", "--output_dir", "runs/continual_notebook"]
main(["continual", "--tasks", *tasks, "--strategies", *strategies, *flags])

# %% [markdown]
# Each row is the average accuracy over both tasks at the end, and how much the first task has lost. An adapter for
# each task forgets nothing, by construction: its files do not change. `runs/continual_notebook/continual.html` has the
# matrix of scores after each stage, the curves and the tests.
#
# From a shell, this is `taskswap continual --tasks orders.toml weather.toml --strategies sequential joint
# adapter_per_task`; `taskswap continual --add task.toml RUN` learns one more task behind a gate.
