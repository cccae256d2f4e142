"""LoRA (Hu et al. 2021, arXiv:2106.09685) by PEFT: low-rank changes to linear layers, and the task's head.

The defaults train all linear layers of the body. Rank, alpha and rate were chosen on dev (minilm, seed 0, 2,000
training examples, at most 1,000 of dev; entity F1 of CoNLL-2003, accuracy of SST-2, TREC and banking77, the last two
for 5 and 8 epochs; tests/benchmarks/defaults.py --methods lora --seeds 0 --more --max_train_samples 2000 …):

    r   alpha  rate   conll2003   sst2    trec    banking77   mean
    16  32     1e-3   78.82       83.72   91.31   78.30       83.04
    16  32     2e-3   84.50       85.67   92.28   84.30       86.69   (the defaults)
    16  32     4e-3   84.95       73.17   92.28   83.20       83.40   (sst2 collapses)
     8  16     2e-3   81.77       83.72   91.70   77.20       83.60
    full       1e-4   74.56       85.78   91.70   54.60       76.66

At this rate AdamW's usual memory of squares (beta2 0.999) broke down in training on imbalanced classes (three of
financial_phrasebank, --class_weights balanced: 27.9 on dev, everything one class, with and without the pooler); with
0.98, the default here, the same run scored 84.1, and as above conll2003 83.85, sst2 84.52, trec 92.66. The table is of
0.999.

README, Results, has what they score on the whole of these data beside full fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.low_rank import LowRankMethod, LowRankSettings


@dataclass(frozen=True, kw_only=True)
class Settings(LowRankSettings):
    """LoRA."""


class Method(LowRankMethod):
    """PEFT's LoRA with the head trained whole beside it."""

    name = "lora"
