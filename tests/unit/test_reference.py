"""The authors' results in `reference/`: the code that is here made them."""

from pathlib import Path

import pytest

from random_mask.artifacts.provenance import problems

OLDER = ("cifar10_jpeg", "digits-128", "digits-all", "digits_tuning")
"""Made by an earlier version, and to be made again."""
REFERENCE = Path(__file__).parents[2] / "reference"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.name, marks=[pytest.mark.xfail(strict=True)] if path.name in OLDER else [])
        for path in sorted(REFERENCE.glob("*/"))
    ],
)
def test_this_code_made_what_is_kept(name):
    checked, found = problems(REFERENCE / name)
    assert checked >= 9
    assert found == []
