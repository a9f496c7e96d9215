import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_mask.data.readers import digits
from random_mask.data.splits import PARTS, read_split, split, split_as_csv
from random_mask.errors import InputError
from random_mask.settings import Data


def data(train=1000, validation=100, test=200, forget=50) -> Data:
    return Data.model_validate(
        {"name": "digits", "train": train, "validation": validation, "test": test, "forget": {"size": forget}}
    )


def test_digits_are_the_whole_data_set():
    images, labels = digits()
    assert images.shape == (1797, 3, 32, 32)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert np.array_equal(np.bincount(labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert np.array_equal(images[:, 0], images[:, 2])


@given(
    seed=st.integers(0, 2**32),
    train=st.integers(2, 1000),
    validation=st.integers(1, 300),
    test=st.integers(1, 400),
    share=st.floats(0, 0.999),
)
def test_parts_are_disjoint_and_complete(seed, train, validation, test, share):
    forget = max(1, min(train - 1, int(share * train)))
    parts = split(1797, data(train, validation, test, forget), seed)
    sizes = {"retain": train - forget, "forget": forget, "validation": validation, "test": test}
    assert {part: len(indices) for part, indices in parts.items()} == sizes
    everything = np.concatenate([parts[part] for part in PARTS])
    assert len(np.unique(everything)) == len(everything) == train + validation + test
    assert everything.min() >= 0
    assert everything.max() < 1797


def test_a_split_depends_on_the_seed_alone():
    first, again, other = (split(1797, data(), seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[part], again[part]) for part in PARTS)
    assert not np.array_equal(first["forget"], other["forget"])


def test_a_larger_forget_set_leaves_validation_and_test_alone():
    small, large = split(1797, data(forget=10), 1), split(1797, data(forget=90), 1)
    assert np.array_equal(small["validation"], large["validation"])
    assert np.array_equal(small["test"], large["test"])


def test_the_table_of_a_split_can_be_read_back():
    labels = np.arange(1797) % 10
    parts = split(1797, data(), 1)
    indices, classes = read_split(split_as_csv(parts, labels), "split.csv")
    for part in PARTS:
        assert np.array_equal(indices[part], parts[part])
        assert np.array_equal(classes[part], labels[parts[part]])


TWICE = "image,label,part\n0,1,retain\n1,1,forget\n2,1,validation\n3,1,test\n3,1,retain\n"


@pytest.mark.parametrize(
    "text", ["", "image,label,part\n", "image,label\n1,2\n", "image,label,part\nx,1,retain\n", TWICE]
)
def test_a_damaged_table_is_named(text):
    with pytest.raises(InputError, match=r"split\.csv: damaged; delete it"):
        read_split(text, "split.csv")
