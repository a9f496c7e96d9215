import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_mask.artifacts.shards import read_speed, read_works, write_works
from random_mask.training.cost import Speed, Work, seconds

SPEED = Speed(flops_per_second=6e9, weights_per_second=1e6)


def test_the_price_of_work():
    # 100 images, 2e9 flops forward and twice that backward, and 10 steps of 1e5 weights.
    work = Work(images=100, steps=10, flops=2 * 10**9, weights=10**5)
    assert seconds(work, SPEED) == pytest.approx(100 * 1 + 10 * 0.1)


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(2, 9))
def test_twice_the_work_costs_twice_as_much(images, steps, times):
    once = Work(images=images, steps=steps, flops=10**6, weights=10**6)
    often = Work(images=times * images, steps=times * steps, flops=10**6, weights=10**6)
    assert seconds(often, SPEED) == pytest.approx(times * seconds(once, SPEED))


def test_works_survive(tmp_path):
    works = [Work(images=1, steps=2, flops=3, weights=4), Work(images=5, steps=6, flops=7, weights=8)]
    write_works(tmp_path / "models.json", works, classes=10)
    assert read_works(tmp_path / "models.json") == works
    assert json.loads((tmp_path / "models.json").read_text())["classes"] == 10


def test_the_reference_speed_was_measured_on_a_named_machine():
    path = Path(__file__).parents[2] / "reference" / "speed.json"
    assert read_speed(path).flops_per_second > 1e9
    assert json.loads(path.read_text())["machine"]["processor"]
