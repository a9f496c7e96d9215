"""The parts of a configuration that stages are given: what each of them depends on.

They stand apart from `experiment.config`, the whole, so that a change of the whole re-runs no training.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "ClassForget",
    "Dampen",
    "Data",
    "FisherNoise",
    "GroupForget",
    "ListForget",
    "MemorisedForget",
    "MislabelledForget",
    "Negate",
    "NoPerturbation",
    "Noise",
    "Perturbation",
    "Precision",
    "PruneSmallest",
    "RandomForget",
    "RandomMask",
    "Recipe",
    "Reinitialise",
    "Relearning",
    "Section",
    "SmallestGradient",
    "Step",
    "Transpose",
]

DATASET_SIZES = {
    "digits": {"train + validation + test": 1_797},
    "cifar10": {"train + validation": 50_000, "test": 10_000},
    "cifar100": {"train + validation": 50_000, "test": 10_000},
    "svhn": {"train + validation": 73_257, "test": 26_032},
}
"""Number of images from which parts are drawn, for the data sets whose size is known before they are read."""

ARCHIVES = {
    "cifar10": ["data/cifar-10-python.tar.gz"],
    "cifar100": ["data/cifar-100-python.tar.gz"],
    "svhn": ["data/train_32x32.mat", "data/test_32x32.mat"],
}
"""The official files of the data sets that are downloaded, relative to the root of the repository."""


Precision = Literal["auto", "fp32", "bf16"]
"""How matrix products are computed while training."""


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


# YAML reads 1e-3 as a string; a number in any notation is welcome.
Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]


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
    title: str | None = None
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
    """A list of images that are in no part, one a line, by number or file, relative to the root of the
    repository; so that methods are tuned on other images than they are judged by."""
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
        if self.forgotten >= self.train:
            raise ValueError(
                f"forget.size: {self.forgotten} images to forget, but train has {self.train}; "
                "at least two must remain to be retained"
            )
        if (self.path is None) != (self.name not in ("image_folder", "casia_surf")):
            raise ValueError(
                "path: where the images are; `image_folder` and `casia_surf` need it, and they alone"
            )
        if self.groups is not None and self.name != "image_folder":
            raise ValueError("groups: only `image_folder` has a table of groups; remove it")
        if self.forget.kind == "group" and self.groups is None and self.name != "casia_surf":
            raise ValueError("groups: needed to forget by group: a CSV table of file and group")
        for parts, available in DATASET_SIZES.get(self.name, {}).items():
            wanted = sum(getattr(self, part) for part in parts.split(" + "))
            if wanted > available:
                raise ValueError(f"{parts}: {wanted} images, but {self.name} has {available}; lower one")
        return self

    @property
    def forgotten(self) -> int:
        """The number of images to forget, or 0 if that is not known before they are read."""
        return getattr(self.forget, "size", None) or 0

    @property
    def classes(self) -> int:
        """The number of classes, or ten where that is not known before the images are read."""
        return 100 if self.name == "cifar100" else 10


class Recipe(Section):
    """How weights are fitted to images."""

    objective: Literal[
        "cross_entropy",
        "ascent",
        "neg_grad_plus",
        "relabel",
        "uniform",
        "contrast",
        "distil",
        "match_logits",
        "match_entropy",
        "distil_and_learn",
        "repel",
        "bad_teacher",
    ] = "cross_entropy"
    """The loss that is minimised; each is described in `random_mask.methods.objectives`."""
    images: Literal["retain", "forget", "validation", "both"] = "retain"
    """The images that an epoch passes over: `both` takes with every batch of retain one of forget."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the images."""
    batch: Annotated[int, Field(ge=2)]
    """Images a step; the last batch of an epoch may be smaller."""
    optimizer: Literal["adam", "sgd"]
    """`adam` (betas 0.9 and 0.999) or `sgd` (with momentum)."""
    learning_rate: Annotated[Number, Field(gt=0)]
    """Learning rate of the first step."""
    final_learning_rate: Annotated[Number, Field(ge=0)] = 0.0
    """Learning rate that the schedule reaches after the last step."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes from the first to the final one; `constant` stays at the first."""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the learning rate first rises linearly from zero."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Momentum of `sgd`, 0.9 unless given; `adam` has none."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """L2 penalty, added to the gradient by the optimiser."""
    l1: Annotated[Number, Field(ge=0)] = 0.0
    """Penalty on the sum of absolute weights, which falls linearly to zero over the epochs."""
    class_weights: bool = False
    """Whether cross entropy weights a class by the inverse of its share of the retain set."""
    balance: Annotated[Number, Field(ge=0, le=1)] = 0.5
    """Weight of the first of two terms of an objective; the second has the rest."""
    temperature: Annotated[Number, Field(gt=0)] = 1.0
    """By which logits are divided in distillation and contrast."""
    labels: Literal["true", "random", "second"] = "true"
    """Labels of forget images: their own, a random other class, or the original's likeliest other class."""
    noise: Annotated[Number, Field(ge=0)] = 0.0
    """Standard deviation of normal noise that is added to images as networks read them."""
    last: Annotated[int, Field(ge=1, le=9)] | None = None
    """Train only the last so many blocks (eight residual blocks before the linear layer), or all weights."""
    salient: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Train only this share of the weights, those with the largest gradient of the forget loss."""
    kept_gradient: Annotated[Number, Field(ge=0, le=1)] = 1.0
    """Factor on the gradient of convolution weights that the perturbation left as they were."""
    order: Literal["model", "fleet"] = "model"
    """Whether every model draws its own order of the images, or the fleet shares one."""

    @model_validator(mode="before")
    @classmethod
    def _momentum(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("optimizer") == "sgd":
            return {"momentum": 0.9} | content
        if isinstance(content, dict) and content.get("momentum") is not None:
            raise ValueError("momentum: only sgd uses it; remove it")
        return content

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        with_forget = ("neg_grad_plus", "relabel", "contrast", "bad_teacher")
        if (self.objective in with_forget) != (self.images == "both"):
            raise ValueError(
                f"images: `both` goes with the objectives {', '.join(with_forget)}, and they with it"
            )
        if self.warm_up >= self.epochs:
            raise ValueError(f"warm_up: {self.warm_up} epochs, but there are {self.epochs} in all")
        return self

    @property
    def passed_over(self) -> str:
        """The part that an epoch passes over: for `both`, retain, with batches of forget beside."""
        return "retain" if self.images == "both" else self.images


class Relearning(Section):
    """Some models of every fleet learn the forget set again: how soon shows what they still know of it."""

    models: Annotated[int, Field(ge=2)] = 4
    """The first so many models of every fleet, trained once more for it, since weights are not kept."""
    finetune: Recipe
    """How: on `images: forget`, at a constant learning rate so low that the original's loss falls from the
    start, for as many epochs as retrained models need to come down to it."""

    @model_validator(mode="after")
    def _on_forget(self) -> Relearning:
        fits = {"images": "forget", "schedule": "constant", "objective": "cross_entropy"}
        for key, value in fits.items():
            if getattr(self.finetune, key) != value:
                raise ValueError(f"finetune.{key}: relearning takes `{value}`")
        return self


class NoPerturbation(Section):
    """The original weights are left as they are."""

    name: Literal["none"]
    """The perturbation."""


Ratio = Annotated[Number, Field(ge=0, le=1)]
Tensors = Literal["all", "convolutions", "linear", "inner"]


class RandomMask(Section):
    """Every weight is set to zero with the same probability, once; it may regrow."""

    name: Literal["random_mask"]
    """The perturbation."""
    ratio: Ratio
    """Probability that a weight is set to zero."""
    ratio_to: Ratio | None = None
    """If given, every model draws its ratio between `ratio` and this."""
    spare: Literal["published", "described"]
    """What is not masked: `published`, parameters whose name contains `bn` (the shortcut batch norms are
    masked, as in the published code), or `described`, every parameter of a batch norm."""
    only: Tensors = "all"
    """Which of the other tensors are masked: `all`, `convolutions`, `linear`, or `inner`, the convolutions
    without the stem and the shortcuts."""
    unit: Literal["element", "tensor"] = "element"
    """What is masked as one: every weight for itself, or a whole tensor."""
    fill: Literal["zero", "initial"] = "zero"
    """What masked weights are set to: zero, or a value drawn as before training."""
    rescale: bool = False
    """Whether the weights that are kept are divided by the probability of keeping them."""
    held: bool = False
    """Whether masked weights stay as the mask set them while the others are fine-tuned."""
    drawn: Literal["model", "fleet"] = "model"
    """Whether every model draws its own mask, or the fleet shares one."""


class Noise(Section):
    """Normal noise is added to weights."""

    name: Literal["noise"]
    """The perturbation."""
    sigma: Annotated[Number, Field(ge=0)]
    """Standard deviation of the noise."""
    only: Tensors = "convolutions"
    """Which tensors get noise, as for `random_mask`; never those of a batch norm."""
    share: Ratio = 1.0
    """Probability that a weight gets noise."""
    tensors: Annotated[int, Field(ge=1)] | None = None
    """So many tensors are drawn for every model, or all."""


class Reinitialise(Section):
    """Layers are set to values drawn as before training."""

    name: Literal["reinitialise"]
    """The perturbation."""
    layers: list[str] = []
    """Names of layers, such as `conv1`, `fc` or `layer4`; those within a layer are meant as well."""
    random: Annotated[int, Field(ge=1)] | None = None
    """So many convolutions, drawn for every model, in addition."""
    last: Annotated[int, Field(ge=1, le=9)] | None = None
    """The last so many blocks (eight residual blocks before the linear layer), in addition."""
    spare_shortcuts: bool = False
    """Whether the convolutions of the shortcuts are not drawn."""


class PruneSmallest(Section):
    """The smallest weights of all are drawn anew, uniformly within one over the root of the fan-in."""

    name: Literal["prune_smallest"]
    """The perturbation."""
    share: Ratio
    """Share of the convolution and linear weights that is drawn anew."""


class SmallestGradient(Section):
    """The convolution weights on which retain and forget disagree least are drawn anew."""

    name: Literal["smallest_gradient"]
    """The perturbation."""
    share: Ratio
    """Share of the weights that is drawn anew, among those whose gradient is not exactly zero."""


class Transpose(Section):
    """Every convolution kernel is transposed: rows become columns."""

    name: Literal["transpose"]
    """The perturbation."""


class Negate(Section):
    """The weights of layers change their sign."""

    name: Literal["negate"]
    """The perturbation."""
    layers: list[str]
    """Names of layers, such as `conv1` or `layer1`; those within a layer are meant as well."""


class FisherNoise(Section):
    """Normal noise whose variance falls with what a weight matters to the retain set."""

    name: Literal["fisher_noise"]
    """The perturbation."""
    alpha: Annotated[Number, Field(gt=0)]
    """The variance of the noise is alpha / Fisher information."""
    most: Annotated[Number, Field(gt=0)] = 1.0e3
    """The largest 1 / Fisher information: weights that matter to nothing would get boundless noise."""


class Dampen(Section):
    """Weights that matter to the forget set far more than to all are made smaller."""

    name: Literal["dampen"]
    """The perturbation."""
    alpha: Annotated[Number, Field(gt=0)]
    """A weight is dampened whose information on forget exceeds alpha times that on all training images."""
    strength: Annotated[Number, Field(gt=0)]
    """The factor is strength times the ratio of both, at most one."""


Perturbation = Annotated[
    NoPerturbation
    | RandomMask
    | Noise
    | Reinitialise
    | PruneSmallest
    | SmallestGradient
    | Transpose
    | Negate
    | FisherNoise
    | Dampen,
    Field(discriminator="name"),
]


def _or_one(schema: dict[str, Any]) -> None:
    """Let the schema of a list admit one item without the list."""
    schema["anyOf"] = [schema["items"], {"type": schema.pop("type"), "items": schema.pop("items")}]


class Step(Section):
    """One step of unlearning: perturb the weights, then fine-tune them."""

    perturb: Perturbation = NoPerturbation(name="none")
    """What is done to the weights first."""
    finetune: Annotated[list[Recipe], Field(json_schema_extra=_or_one)]
    """How the perturbed weights are repaired: a recipe, or a list of them, one after the other."""
    cycles: Annotated[int, Field(ge=1)] = 1
    """How often the step is taken, each time from where the last one ended."""
    models: Literal["all", "even", "odd"] = "all"
    """Which models take the step, by their index; a fleet of two kinds takes two steps."""

    @field_validator("finetune", mode="before")
    @classmethod
    def _one_or_more(cls, content: Any) -> Any:
        return [content] if isinstance(content, dict) else content
