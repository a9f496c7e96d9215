"""A folder of one's own images, from the plan to the division of the data; and places where nothing runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.slow

TABLE = "results/mine/data/split.csv"


@pytest.fixture
def own(fresh):
    """A checkout with a configuration of a folder of images, of which two are the same."""
    rng = np.random.default_rng(0)
    images = fresh.root / "images"
    for split, count in (("train", 12), ("test", 4)):
        for kind in ("cat", "dog", "emu"):
            (images / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(images / split / kind / f"{number}.bmp")
    shutil.copy(images / "train/cat/0.bmp", images / "test/dog/0.bmp")
    config = yaml.safe_load((fresh.root / "config/smoke.yaml").read_text())
    config |= {"experiment": "mine", "replicates": 20}
    sizes = {"train": 34, "validation": 2, "test": 12, "forget": {"size": 3}}
    config["data"] = {"name": "image_folder", "path": "images", **sizes}
    (fresh.root / "mine.yaml").write_text(yaml.safe_dump(config))
    return fresh


def test_a_folder_is_divided_again_when_and_only_when_its_images_change(own):
    process = own.snakemake(TABLE, config="mine.yaml")
    assert process.returncode == 0, process.stdout
    assert "replicates: 20 are for a first try; take 100 or more" in process.stdout
    log = (own.root / "results/mine/logs/prepare_data.log").read_text()
    assert "warning: 1 image is in several splits, pixel by pixel: train/cat/0.bmp" in log
    assert own.planned(TABLE, config="mine.yaml") == set()
    (own.root / "images/train/.DS_Store").touch()
    (own.root / "images/train/cat/1.bmp").touch()
    assert own.planned(TABLE, config="mine.yaml") == set()
    path = own.root / "images/train/dog/1.bmp"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert own.planned(TABLE, config="mine.yaml") == {"prepare_data"}


def test_what_is_wrong_with_a_folder_is_said_before_anything_runs(own):
    (own.root / "images/train/cat/link.bmp").symlink_to("/nowhere.bmp")
    returncode, printed = own.dry_run(TABLE, config="mine.yaml")
    assert returncode == 1
    assert "images: cannot be read: train/cat/link.bmp (a link that leads nowhere); correct" in printed
    assert "Traceback" not in printed
    assert not (own.root / "results").exists()


@pytest.mark.parametrize("option", ["-s", "-d"])
def test_elsewhere_one_line_says_what_to_do(fresh, tmp_path, option):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    config = str(fresh.root / "config/smoke.yaml")
    arguments, cwd = {
        "-s": (["-s", str(fresh.root / "Snakefile")], elsewhere),
        "-d": (["-d", str(elsewhere)], fresh.root),
    }[option]
    program = Path(sys.executable).parent / "snakemake"
    process = subprocess.run(
        [program, "--cores", "1", *arguments, "--configfile", config], cwd=cwd, capture_output=True, text=True
    )
    assert process.returncode == 1
    assert f"{fresh.root}: run this in the repository, where all paths begin" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (fresh.root / "results").exists()
