# %% [markdown]
# # Why that answer?
#
# What each word adds to an answer, and whether that can be believed. The extra `explain` brings captum.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap[explain]"], check=True)

SIZE = {"max_train_samples": 800, "max_eval_samples": 200, "max_predict_samples": 200}

# %%
import adapters

run = adapters.train(
    task="classification", method="lora", data="rotten_tomatoes", output_dir="runs/explaining_lora", **SIZE
)
mood = adapters.load(run.artifact)
text = "A joyless film, but not without a charming and funny start."
mood(text)

# %% [markdown]
# ## Words
#
# Integrated gradients go from the text without words to the text, in steps. Their values add up to the difference of
# the two scores; by how much they do not is printed. Blue speaks for the answer, orange against it.

# %%
adapters.explain(mood, text)

# %% [markdown]
# Occlusion leaves out one word at a time instead. Where two methods differ much, believe neither too soon.

# %%
adapters.explain(mood, text, method="occlusion")

# %% [markdown]
# ## Decided like these
#
# The training examples that are nearest by the model's own features, with their labels.

# %%
near = adapters.explain(run.artifact, text, nearest=3)
[(one.answer, one.text) for one in near.neighbours]

# %% [markdown]
# ## A model whose weights are the explanation
#
# Of `tfidf`, what each word adds is exact.

# %%
simple = adapters.train(
    task="classification", method="tfidf", data="rotten_tomatoes", output_dir="runs/explaining_tfidf", **SIZE
)
adapters.explain(simple.artifact, text)

# %% [markdown]
# ## Are such explanations true?
#
# `taskswap explain RUN --evaluate` tests them: do they add up, does the answer change without the words that are
# reported to matter (compared with random words and long ones), does a model with random weights get others, and do
# they agree with what people have marked.
