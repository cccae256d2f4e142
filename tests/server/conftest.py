"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers


@pytest.fixture(scope="session")
def root(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny adapters."""
    folder = tmp_path_factory.mktemp("served")
    servers.write_adapters(folder, tiny_bert)
    return folder


@pytest.fixture(scope="module")
def bank(tiny_bert: Path, root: Path, one_thread: None) -> Any:
    """A bank with three of them."""
    return servers.bank_of(tiny_bert, root)


@pytest.fixture(scope="module")
def site(bank: Any, root: Path) -> Iterator[servers.Site]:
    """An application around it that may load."""
    with servers.site(bank, adapter_root=str(root)) as made:
        yield made
