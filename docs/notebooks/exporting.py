# %% [markdown]
# # Out of the laboratory
#
# One file that ONNX Runtime runs, without torch: for a service, a phone or a browser. The extra `export` brings what
# writes and runs it.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap[export]"], check=True)

SIZE = {"max_train_samples": 800, "max_eval_samples": 200, "max_predict_samples": 200}

# %%
import adapters

run = adapters.train(task="ner", method="lora", data="conll2003", output_dir="runs/exporting", **SIZE)

# %% [markdown]
# ## Export
#
# The graph is compared with torch at other shapes than the traced one before it counts as written.

# %%
from adapters.cli.main import main

main(["export", str(run.artifact), "--format", "onnx", "--output_dir", "runs/exporting_onnx"])

# %% [markdown]
# ## The same answers

# %%
text = "Angela Merkel visited Paris, and Ada Lovelace lived in London."
exported, trained = adapters.load("runs/exporting_onnx"), adapters.load(run.artifact)
same = exported(text)["entities"] == trained(text)["entities"]
exported(text), same

# %% [markdown]
# ## Smaller
#
# In int8 the weights take a quarter. What that costs is scored on the run's own test data, and in the card.

# %%
from pathlib import Path

main(["export", str(run.artifact), "--format", "onnx", "--quantize", "int8", "--output_dir", "runs/exporting_int8"])
{
    name: round((Path("runs") / name / "model.onnx").stat().st_size / 1e6, 1)
    for name in ("exporting_onnx", "exporting_int8")
}

# %% [markdown]
# `taskswap-runtime` runs these folders with onnxruntime, tokenizers, numpy and regex alone; `taskswap serve --runtime
# onnx` serves them; several LoRA adapters fit into one file (`--adapters ner=… mood=…`).
