"""A merged model: an ordinary transformers folder, which is an artifact of the method `full`."""

from __future__ import annotations

from adapters.artifacts import merging
from adapters.artifacts.export.base.export_format import ExportFormat, ExportRequest


class Format(ExportFormat):
    """What `taskswap merge` writes."""

    def write(self, request: ExportRequest) -> list[str]:
        """Merge the adapter into its base."""
        merging.merge(request.single, request.output_dir, base=request.base, plugin_dirs=request.plugin_dirs)
        return [f"an artifact like any other: taskswap inspect {request.output_dir}"]
