"""The order of the tests."""

from pathlib import Path

import pytest

LONG = ("interrupted", "any_methods", "paper", "try", "cache", "oracle", "training", "gpu_benchmark", "smoke")
"""Files of tests that take half a minute or more: they come first, lest a process be left alone with one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first; a file's own order stays."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(Path(item.path).name, len(LONG)))
