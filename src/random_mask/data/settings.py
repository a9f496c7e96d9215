"""The data section of a configuration: which images there are, their splits, which are to be forgotten."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from random_mask.errors import InputError
from random_mask.settings import PaperText, Section

__all__ = [
    "ARCHIVES",
    "DATASET_SIZES",
    "ClassForget",
    "Data",
    "Forget",
    "GroupForget",
    "ListForget",
    "MemorisedForget",
    "MislabelledForget",
    "RandomForget",
    "check_last_batch",
]

DATASET_SIZES: dict[str, dict[tuple[str, ...], int]] = {
    "digits": {("train", "validation", "test"): 1_797},
    "cifar10": {("train", "validation"): 50_000, ("test",): 10_000},
    "cifar100": {("train", "validation"): 50_000, ("test",): 10_000},
    "svhn": {("train", "validation"): 73_257, ("test",): 26_032},
}
"""Number of images that splits are drawn from, for the data sets whose size is known before they are read."""

ARCHIVES = {
    "cifar10": ["data/cifar-10-python.tar.gz"],
    "cifar100": ["data/cifar-100-python.tar.gz"],
    "svhn": ["data/train_32x32.mat", "data/test_32x32.mat"],
}
"""The official files of the data sets that are downloaded, relative to the root of the repository."""


class RandomForget(Section):
    """A forget set drawn at random from the training images."""

    kind: Literal["random"] = "random"
    """How the forget set is chosen."""
    size: Annotated[int, Field(ge=1)]
    """Number of training images to forget; the remaining ones are the retain set."""


class ClassForget(Section):
    """A forget set drawn from the training images of some classes."""

    kind: Literal["class"]
    """How the forget set is chosen."""
    classes: Annotated[list[str], Field(min_length=1)]
    """Names of the classes; of a data set without names, their numbers."""
    size: Annotated[int, Field(ge=1)] | None = None
    """Number of images to forget, or all of these classes."""


class GroupForget(Section):
    """A forget set of all training images of some groups, such as persons."""

    kind: Literal["group"]
    """How the forget set is chosen."""
    groups: list[str] = Field(default_factory=list)
    """Names of the groups, as the table of groups has them; of `casia_surf`, the persons."""
    first: Annotated[int, Field(ge=1)] | None = None
    """So many groups, the first of the training images by name, in addition."""
    random: Annotated[int, Field(ge=1)] | None = None
    """So many groups, drawn at random, in addition."""

    @model_validator(mode="after")
    def _some(self) -> GroupForget:
        if not (self.groups or self.first or self.random):
            raise ValueError("groups: none; name some, or say how many by first or random")
        return self


class ListForget(Section):
    """A forget set that is given: one image a line, by its number or its file."""

    kind: Literal["list"]
    """How the forget set is chosen."""
    file: str
    """The list, relative to the root of the repository. Images that are not trained on are errors."""


class MislabelledForget(Section):
    """A forget set of training images that are given a wrong label, by which the original is trained."""

    kind: Literal["mislabelled"]
    """How the forget set is chosen."""
    size: Annotated[int, Field(ge=1)]
    """Number of training images that are mislabelled and to be forgotten."""


class MemorisedForget(Section):
    """A forget set of the images that an earlier experiment's original model memorised most.

    The candidates are the forget set of that experiment.
    """

    kind: Literal["memorised"]
    """How the forget set is chosen."""
    size: Annotated[int, Field(ge=1)]
    """Number of images to forget; the forget set of the earlier experiment has at least as many."""
    of: Annotated[str, Field(pattern=r"^.+/evaluation/original/original-\d+\.npz$")]
    """The earlier experiment's evaluation of its original model, relative to the root of the repository:
    `results/<experiment>/evaluation/original/original-0.npz`."""

    @property
    def split_table(self) -> str:
        """The earlier experiment's table of images."""
        return (PurePosixPath(self.of).parents[2] / "data" / "split.csv").as_posix()


Forget = RandomForget | ClassForget | GroupForget | ListForget | MislabelledForget | MemorisedForget


class Data(Section):
    """The data set and how it is split. The splits are disjoint and drawn from the seed."""

    name: Literal["digits", "cifar10", "cifar100", "svhn", "image_folder", "casia_surf"]
    """The data set: `digits`, the 1,797 handwritten digits of scikit-learn, resized to 32x32 RGB; `cifar10`,
    `cifar100` or `svhn`, downloaded to `data/`; `image_folder`, your own: `path` holds `train/<class>/*` and
    `test/<class>/*`; or `casia_surf`, the faces of the competition, which need a licence: `path` holds
    `Age_Gender.txt` and `WBackground/`."""
    title: PaperText | None = None
    """What the paper calls the data set; its name unless given."""
    path: str | None = None
    """For `image_folder`: a folder, or a tar archive of one, relative to the root of the repository; for
    `casia_surf`: the folder."""
    groups: str | None = None
    """For `image_folder`: a CSV table with the columns `file` (such as `train/cat/1.jpg`) and `group`."""
    image_size: Annotated[int, Field(ge=32, le=256)] = 32
    """Height and width to which images of `image_folder` and `casia_surf` are resized, in pixels."""
    normalise: bool = True
    """Whether networks read pixels normalised by the mean and the standard deviation of each channel over the
    retain set, or as they are, 0 to 255, as in the competition."""
    leave_out: str | None = None
    """A list of images that are in no split, one a line, by number or file, relative to the root of the
    repository; so that methods are tuned on other images than they are judged by."""
    duplicates: Literal["warn", "error"] = "warn"
    """What is done if an image stands pixel by pixel in several splits, such as the forget and the retain
    set: `warn`, in the log, the summary and `provenance.json`, or `error`, before anything is trained."""
    train: Annotated[int, Field(ge=2)]
    """Number of training images, the forget set included."""
    validation: Annotated[int, Field(ge=1)]
    """Number of validation images. No model is trained on them."""
    test: Annotated[int, Field(ge=1)]
    """Number of test images."""
    forget: Annotated[Forget, Field(discriminator="kind")]
    """Which training images are to be forgotten."""

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("forget"), dict):
            return content | {"forget": {"kind": "random"} | content["forget"]}
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if self.forgotten > self.train - 2:
            raise ValueError(
                f"forget.size: {self.forgotten} images to forget, but train has {self.train}; "
                "at least two must remain to be retained"
            )
        if (self.path is None) != (self.name not in ("image_folder", "casia_surf")):
            raise ValueError(
                "path: where the images are; `image_folder` and `casia_surf` need it, and they alone"
            )
        if self.image_size != 32 and self.path is None:
            raise ValueError("image_size: only images of a folder are resized; remove it")
        if self.groups is not None and self.name != "image_folder":
            raise ValueError("groups: only `image_folder` has a table of groups; remove it")
        if self.forget.kind == "group" and self.groups is None and self.name != "casia_surf":
            raise ValueError("groups: needed to forget by group: a CSV table of file and group")
        for names, available in DATASET_SIZES.get(self.name, {}).items():
            wanted = sum(getattr(self, name) for name in names)
            if wanted > available:
                raise ValueError(
                    f"{' + '.join(names)}: {wanted} images, but {self.name} has {available}; lower one"
                )
        return self

    @property
    def forgotten(self) -> int:
        """The number of images to forget, or 0 if that is not known before they are read."""
        return getattr(self.forget, "size", None) or 0

    @property
    def classes(self) -> int | None:
        """The number of classes, or None of an `image_folder`, whose images say it."""
        return {"cifar100": 100, "image_folder": None}.get(self.name, 10)


def check_last_batch(key: str, images: int, batch: int | None) -> None:
    """Check that no batch has but one image.

    Args:
        key: what passes over the images, in the words of the configuration.
        images: how many there are.
        batch: how many are taken at a time; None if they come round, so that there is no last batch.

    Raises:
        InputError: if one has.
    """
    if images == 1:
        raise InputError(
            f"{key}: the split has one image only, and batch norm is undefined on one; take more images"
        )
    if batch is not None and images % batch == 1:
        raise InputError(
            f"{key}: {images} images in batches of {batch} leave a last batch of one image, "
            "on which batch norm is undefined; change it by one"
        )
