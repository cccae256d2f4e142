"""What attribution by gradients needs: captum, which is an extra."""

from __future__ import annotations

from typing import Any

from adapters.core.environment import install_command
from adapters.core.errors import SettingsError

NO_GRADIENT = "the model has no gradient of a text's embeddings"


def captum_attr() -> Any:
    """The attribution methods of captum. Raises SettingsError where it is not installed."""
    try:
        import captum.attr
    except ImportError as error:
        raise SettingsError(
            f"Explanations by gradients need captum, which is not installed: {install_command('explain')}. Without "
            "it: --method occlusion."
        ) from error
    return captum.attr
