"""Condenses a retrained fleet into what judging needs of it: a file small enough to be kept."""

from __future__ import annotations

from random_mask.artifacts.files import write_npz
from random_mask.artifacts.shards import read_works, write_works
from random_mask.data.splits import SPLITS
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.judging import read_stored


def main(*, fleet: list[Input], costs: list[Input], split_table: Input, output: Output, cost: Output) -> None:
    """Write the confidences of a fleet in place of its logits, and the images they are of; and its cost.

    `output` has `confidences_<split>` [models, images], of the images whose logits are stored,
    `image_<split>` and `label_<split>`, and what else is stored of a fleet.
    """
    stored = read_stored(fleet, split_table)
    arrays = {name: array for name, array in stored.arrays.items() if not name.startswith("logits_")}
    for split in SPLITS:
        arrays[f"confidences_{split}"] = stored.confidences(split)
        arrays[f"image_{split}"], arrays[f"label_{split}"] = stored.images[split], stored.labels[split]
    write_npz(output, arrays)
    write_works(cost, [work for path in costs for work in read_works(path)])
    progress(f"{len(arrays['model'])} models")


if __name__ == "__main__":
    run(main)
