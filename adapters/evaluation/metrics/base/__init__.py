"""The basis of a metric's file: `from adapters.evaluation.metrics import base`, then `class Metric(base.Metric)`."""

from adapters.evaluation.metrics.base.any_metric import Section as Section
from adapters.evaluation.metrics.base.metric import MILLION as MILLION
from adapters.evaluation.metrics.base.metric import Metric as Metric
from adapters.evaluation.metrics.base.metric import averaged_rows as averaged_rows
from adapters.evaluation.metrics.base.metric import load_metric as load_metric
from adapters.evaluation.metrics.base.metric import macro_mean as macro_mean
from adapters.evaluation.metrics.base.metric import main_metric as main_metric
from adapters.evaluation.metrics.base.metric import precision_recall_f1 as precision_recall_f1
from adapters.evaluation.metrics.base.metric import ratio as ratio
from adapters.evaluation.metrics.base.metric import task_metrics as task_metrics
from adapters.evaluation.metrics.base.resampled import ResampledMetric as ResampledMetric
