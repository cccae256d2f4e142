# %% [markdown]
# # Your own data
#
# From a table of texts and labels to a classifier, and what happens where the table is wrong. Every fault is named with
# its row, before anything is trained.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("adapters") is None:  # in Colab, or another fresh environment
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "taskswap"], check=True)

SIZE = {}  # flags of every training, such as max_train_steps

# %% [markdown]
# ## A frame
#
# Columns are found by their names, and what was read as what is reported.

# %%
import pandas

import adapters

words = {
    "late": [
        "where is my parcel",
        "it has not arrived yet",
        "still waiting for the delivery",
        "the courier never came",
    ],
    "refund": [
        "I want my money back",
        "please refund the order",
        "when is the refund paid",
        "cancel it and pay me back",
    ],
    "praise": ["thank you, it is lovely", "works very well", "great service", "I am happy with it"],
}
endings = ["", ", please", " today", " since Monday", "!", ", for order 17", " again", ", as I said"]
rows = [(text + end, label) for label, texts in words.items() for text in texts for end in endings]
frame = pandas.DataFrame(rows, columns=["message", "topic"]).sample(frac=1, random_state=0)
train, test = frame[:72], frame[72:]
frame.head()

# %%
run = adapters.train(
    task="classification",
    method="lora",
    train=train,
    test=test,
    text_column_name="message",
    label_column_name="topic",
    num_train_epochs=5,
    output_dir="runs/your_data",
    **SIZE,
)
run

# %%
topic = adapters.load(run.artifact)
topic(["the box is still not here", "could you send the money back"])

# %% [markdown]
# ## Is a transformer needed at all?
#
# TF-IDF with logistic regression is in every comparison, so that this is answered before a model is deployed.

# %%
adapters.compare(
    task="classification",
    methods=["majority", "tfidf", "lora"],
    train=train,
    test=test,
    text_column_name="message",
    label_column_name="topic",
    num_train_epochs=5,
    tuning_trials=0,
    output_dir="runs/your_data_compared",
    **SIZE,
)

# %% [markdown]
# ## Wrong input

# %%
broken = [{"text": "fine", "label": "good"}, {"text": "", "label": "good"}, {"text": "no label"}]
try:
    adapters.train(task="classification", method="lora", train=broken)
except adapters.UserError as error:
    print(error)

# %%
try:
    adapters.train(task="clasification", method="lora", train=train)
except adapters.UserError as error:
    print(error)

# %% [markdown]
# `taskswap data FILE` shows the same of a file: columns, labels, lengths, repetitions and faults as `file:line`.
