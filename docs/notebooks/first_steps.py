# %% [markdown]
# # First steps
#
# Train an adapter that finds names in English text, use it, compare it with other methods, and hand it to stock PEFT.
# A laptop's CPU is enough; a GPU is used where there is one. The model (22.7 M parameters) and CoNLL-2003 come from
# PyPI.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap"], check=True)

SIZE = {"max_train_samples": 600, "max_eval_samples": 200, "max_predict_samples": 300}  # {} trains on everything

# %% [markdown]
# ## Train
#
# `train` takes a task, a method and data: a path, an alias, a Hub id, a pandas frame, a `datasets.Dataset` or a list of
# dicts. Any flag of the recipes is an argument. The result shows its scores, its cost and where it is.

# %%
import adapters

run = adapters.train(task="ner", method="lora", data="conll2003", output_dir="runs/first_steps", **SIZE)
run

# %% [markdown]
# ## Use
#
# `load` verifies the folder first: a file that has changed is refused.

# %%
ner = adapters.load(run.artifact)
ner("Angela Merkel visited Paris.")

# %%
[entity["text"] for entity in ner("Ada Lovelace lived in London.")["entities"]]

# %% [markdown]
# ## Compare
#
# Which method is worth its cost on these data? Each is scored on the same examples, over seeds; the table has
# intervals, and the verdict claims only what its tests cover. `tuning_trials=0` takes the default settings: leave it
# out for a search of each method's settings with equal budgets.

# %%
compared = adapters.compare(
    task="ner",
    methods=["crf", "head", "lora"],
    data="conll2003",
    seeds=2,
    tuning_trials=0,
    output_dir="runs/first_steps_compared",
    **SIZE,
)
compared

# %% [markdown]
# `runs/first_steps_compared/comparison.html` has every number, test and picture.
#
# ## In stock PEFT
#
# The artifact is a PEFT adapter: nothing of this project is needed to load it.

# %%
from peft import PeftModel
from transformers import AutoModelForTokenClassification

from adapters.models.base_model import open_base  # where the base is on this machine; its Hub id does as well

folder = open_base("minilm").folder
base = AutoModelForTokenClassification.from_pretrained(folder, num_labels=len(run.record["labels"]))
PeftModel.from_pretrained(base, str(run.artifact)).print_trainable_parameters()
