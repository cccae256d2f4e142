"""Root mean squared error and mean absolute error of predicted numbers. Lower is better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adapters.evaluation.metrics import base


class Metric(base.Metric):
    """Gold and prediction are numbers; errors have their unit. **Lower is better**; 0 is perfect."""

    name = "rmse"
    title = "Root mean squared error"
    compares = ("number",)
    main = "rmse"
    lower_is_better = True
    count_type = np.float64
    bounds = (0.0, np.inf)

    @property
    def width(self) -> int:
        """Examples, squared errors, absolute errors."""
        return 3

    def counts(self, gold: float, prediction: float) -> np.ndarray:
        """float64 `[3]`."""
        error = float(prediction) - float(gold)
        return np.array([1.0, error * error, abs(error)])

    def scores(self, sums: np.ndarray) -> Mapping[str, np.ndarray]:
        """rmse, and mae: the mean absolute error, in which a large error weighs no more than several small ones."""
        examples, squared, absolute = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
        return {"rmse": np.sqrt(base.ratio(squared, examples)), "mae": base.ratio(absolute, examples)}

    def sections(self, sums: np.ndarray) -> list[base.Section]:
        """Both errors."""
        rows = tuple((name, (float(value),)) for name, value in self.scores(sums).items())
        remark = "In the unit of the numbers; lower is better, 0 is perfect."
        return [base.Section(title="Errors", columns=("value",), rows=rows, remark=remark, as_given=True)]
