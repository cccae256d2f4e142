"""What an export to ONNX needs to run: ONNX Runtime, tokenizers and NumPy, and nothing of torch or transformers.

Texts are encoded and answers decoded by the task's own code, so that an export says what the toolkit says. The small
distribution `taskswap-runtime` is this package and what it imports (`.ci/build_runtime`).
"""

from adapters.artifacts.runtime.loading import Export as Export
from adapters.artifacts.runtime.loading import load as load
