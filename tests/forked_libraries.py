"""What a run imports and builds once in its process: the processes that tests/forked.py forks begin with it."""

from __future__ import annotations

import gc
import importlib
import sys

from adapters.core import arguments, discovery
from adapters.core.settings import CommonSettings
from adapters.experiments.learning_curve import picture
from adapters.training.history import History

MODULES = (
    "accelerate",
    "datasets",
    "transformers.conversion_mapping",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "adapters.artifacts.model_card",
    "adapters.cli.main",
    "adapters.core.environment",
    "adapters.evaluation.report.run_report",
    "adapters.experiments.records",
    "adapters.experiments.run",
    "adapters.models.byte_dropout",
    "adapters.models.compile",
    "adapters.models.lora_linear",
    "adapters.models.peft_library",
    "adapters.models.precision",
    "adapters.models.quantization",
    "adapters.recipe",
    "adapters.tasks.base.examples",
    "adapters.training.trainer",
)

gc.disable()  # a fifth of the time of these imports is spent on looking for garbage, and there is none
for module in MODULES:
    importlib.import_module(module)
for kind in discovery.FOLDERS:
    for name in discovery.names(kind):
        discovery.load(kind, name)
arguments.parse(CommonSettings, {"dataset_name": "none"}, "", [])
sys.modules["transformers.conversion_mapping"].get_checkpoint_conversion_mapping("bert")
picture(History(losses=[1.0, 0.5]), "score")
gc.enable()
gc.freeze()  # a collection in a forked process would copy the pages of all this
