"""What a format's file builds on: `from adapters.artifacts.export import base`; not a format itself."""

from adapters.artifacts.export.base.export_format import ExportFormat as ExportFormat
from adapters.artifacts.export.base.export_format import ExportRequest as ExportRequest
