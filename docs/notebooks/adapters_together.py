# %% [markdown]
# # Adapters together
#
# Two tasks, two kinds of adapter, one base in memory: each text of a batch is answered under its own adapter.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap"], check=True)

SIZE = {"max_train_samples": 600, "max_eval_samples": 200, "max_predict_samples": 200}

# %%
import adapters

names = adapters.train(task="ner", method="lora", data="conll2003", output_dir="runs/together_names", **SIZE)
mood = adapters.train(
    task="classification", method="prefix", data="rotten_tomatoes", output_dir="runs/together_mood", **SIZE
)

# %% [markdown]
# ## One bank

# %%
bank = adapters.AdapterBank("minilm")
bank.load("names", names.artifact)
bank.load("mood", mood.artifact)
bank

# %%
answers = bank.predict(
    [
        {"adapter": "names", "inputs": "Angela Merkel visited Paris."},
        {"adapter": "mood", "inputs": "A dull film without one good scene."},
        {"adapter": "mood", "inputs": "A joy from beginning to end."},
    ]
)
[(answer["adapter"], answer["output"].get("label", answer["output"].get("entities"))) for answer in answers]

# %% [markdown]
# ## Alone or together: the same answers
#
# A mixed batch is a matter of speed. What an adapter says does not depend on its neighbours.

# %%
alone = adapters.load(mood.artifact)("A joy from beginning to end.")
together = answers[2]["output"]["scores"]
{label: abs(alone["scores"][label] - score) < 1e-4 for label, score in together.items()}

# %% [markdown]
# ## Replace one while the others answer
#
# A new version is verified before it takes over; the former one can be taken back.

# %%
info = bank.load("mood", mood.artifact, replace=True)
info["version"], bank.rollback("mood")["version"]

# %% [markdown]
# Over HTTP it is `taskswap serve --adapter names=… --adapter mood=…`, with a page to try them.
