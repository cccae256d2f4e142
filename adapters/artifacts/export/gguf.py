"""GGUF."""

from adapters.artifacts.export.base.export_format import ExportFormat


class Format(ExportFormat):
    """x."""

    options = ("apart",)

    def write(self, request):
        """X."""
        raise NotImplementedError
