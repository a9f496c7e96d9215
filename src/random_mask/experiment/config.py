"""The configuration of an experiment: what is studied, checked before anything runs.

A configuration is one YAML file under `config/`. These classes are its schema; the JSON schema in
`workflow/schemas/` is generated from them. Unknown keys are errors.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import numpy as np
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from random_mask.artifacts.files import read_text
from random_mask.data.settings import Data, check_last_batch
from random_mask.errors import InputError
from random_mask.methods import catalogue
from random_mask.methods.loss import Loss
from random_mask.methods.losses.cross_entropy import CrossEntropy
from random_mask.methods.none import NoPerturbation
from random_mask.methods.own.function import located
from random_mask.methods.perturbation import Perturbation
from random_mask.methods.random_mask import RandomMask
from random_mask.seeds import generator
from random_mask.settings import Number, PaperText, Section
from random_mask.training.networks import NETWORKS
from random_mask.training.recipe import Precision, Recipe

__all__ = ["Experiment", "Method", "json_schema", "load", "validate"]

RESERVED = ("original", "retrain", "oracle")
"""Names of fleets that no method may take."""

ENOUGH_REPLICATES = 100
"""Below it, standard errors are off by more than 7 % (one part in the root of twice as many)."""

FEW = 6
"""Methods that figures of few methods have room for."""


if TYPE_CHECKING:
    AnyPerturbation = Perturbation
    AnyLoss = Loss
else:
    AnyPerturbation = Annotated[Union[*catalogue.all_perturbations()], Field(discriminator="name")]
    AnyLoss = Annotated[Union[*catalogue.all_losses()], Field(discriminator="name")]


def _or_name(schema: dict[str, Any]) -> None:
    """Let the schema of a section admit its name alone."""
    schema["oneOf"] = [*schema.pop("oneOf"), {"type": "string"}]
    schema.pop("discriminator")


class FineTuning(Recipe):
    """How weights are fitted to images: the recipe, and the loss that it minimises."""

    objective: Annotated[AnyLoss, Field(json_schema_extra=_or_name)] = CrossEntropy(name="cross_entropy")
    """The loss that is minimised: one of `methods/losses/` with its settings, or its name alone."""

    @field_validator("objective", mode="before")
    @classmethod
    def _name_alone(cls, content: Any) -> Any:
        return {"name": content} if isinstance(content, str) else content

    @model_validator(mode="after")
    def _pairs(self) -> FineTuning:
        if self.objective.pairs and not self.paired_with:
            raise ValueError(
                f"paired_with: {self.objective.name} needs a second batch; name its split, such as forget"
            )
        if self.paired_with and not self.objective.pairs:
            raise ValueError(f"paired_with: {self.objective.name} has no use for a second batch; remove it")
        return self


class Relearning(Section):
    """Some models of every fleet learn the forget set again: how soon shows what they still know of it."""

    models: Annotated[int, Field(ge=2)] = 4
    """The first so many models of every fleet, trained once more for it, since weights are not kept."""
    finetune: FineTuning
    """How: on `images: forget`, at a constant learning rate so low that the original's loss falls from the
    start, for as many epochs as retrained models need to come down to it."""

    @model_validator(mode="after")
    def _on_forget(self) -> Relearning:
        for key, value in {"images": "forget", "schedule": "constant"}.items():
            if getattr(self.finetune, key) != value:
                raise ValueError(f"finetune.{key}: relearning takes `{value}`")
        if not isinstance(self.finetune.objective, CrossEntropy):
            raise ValueError("finetune.objective: relearning takes `cross_entropy`")
        return self


def _or_one(schema: dict[str, Any]) -> None:
    """Let the schema of a list admit one item without the list."""
    schema["anyOf"] = [schema["items"], {"type": schema.pop("type"), "items": schema.pop("items")}]


class Step(Section):
    """One step of unlearning: perturb the weights, then fine-tune them."""

    perturb: AnyPerturbation = NoPerturbation(name="none")
    """What is done to the weights first."""
    finetune: Annotated[list[FineTuning], Field(json_schema_extra=_or_one)]
    """How the perturbed weights are repaired: a recipe, or a list of them, one after the other."""
    cycles: Annotated[int, Field(ge=1)] = 1
    """How often the step is taken, each time from where the last one ended."""
    rounds: Annotated[int, Field(ge=1)] = 1
    """How often the recipes are taken in turn after the perturbation; optimisers and schedules go on."""
    models: Literal["all", "even", "odd"] = "all"
    """Which models take the step, by their index; a fleet of two kinds takes two steps."""

    @field_validator("finetune", mode="before")
    @classmethod
    def _one_or_more(cls, content: Any) -> Any:
        return [content] if isinstance(content, dict) else content

    def work(self, sizes: Mapping[str, int], model: int) -> tuple[int, int]:
        """Return what the step costs a model, by its index: images passed forward and backward, and steps.

        `sizes` are the numbers of images of each split.
        """
        if self.models not in ("all", ("even", "odd")[model % 2]):
            return 0, 0
        images = self.rounds * sum(recipe.images_passed(sizes) for recipe in self.finetune)
        steps = self.rounds * sum(recipe.steps(sizes) for recipe in self.finetune)
        return self.cycles * (self.perturb.gradient_examples(sizes) + images), self.cycles * steps


class Method(Step):
    """An unlearning method: perturb the original weights, then fine-tune them; or a function of your own."""

    finetune: Annotated[list[FineTuning], Field(default_factory=list, json_schema_extra=_or_one)]
    """How the perturbed weights are repaired: a recipe, or a list of them, one after the other. It is needed
    unless the method is a `function`, which stands for all steps."""
    function: str | None = None
    """A function of your own, `path/to/file.py:name`, relative to the root of the repository; it is called as
    `name(net, retain_loader, forget_loader, val_loader)`. Without a name it is `unlearning`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Values of further parameters of the function, by name."""
    batches: Literal["both", "dict", "pair"] = "both"
    """What a batch is to the function: a dict with the keys of the competition, a pair of images and labels,
    or a dict that unpacks into that pair."""
    then: list[Step] = Field(default_factory=list)
    """Further steps, for methods that take more than one."""
    title: PaperText | None = None
    """What tables and figures call it; by default its name."""
    group: Literal["mask", "control", "entry", "literature", "own"] = "own"
    """What it is: random mask or a variant of it, a control (fine-tuning or a repair, without a mask), an
    entry of the competition, a method of the literature, or your own. Figures tell groups apart by colour."""
    variant_of: str | None = None
    """The method that it changes one thing of: it is compared with it, also in the figure of ablations."""
    compare_with: list[str] = Field(default_factory=list)
    """Other methods, or `retrain`, that it is compared with."""
    tuned_from: str | None = None
    """The method whose values a search chose here. The search writes this into its `chosen.yaml`; the method
    need not be one of this experiment."""
    deviation: PaperText | None = None
    """In what it deviates in substance from its source, a sentence; a dagger marks its name."""
    main: bool = False
    """Whether it is in the main table and in figures of few methods, where the experiment has more than six.
    A tuned one that is no control is also compared with all others."""

    @model_validator(mode="after")
    def _steps_or_function(self) -> Method:
        if self.function is None:
            if "finetune" not in self.model_fields_set:
                raise ValueError("finetune: missing")
            return self
        try:
            located(self.function)
        except ValueError as error:
            raise ValueError(f"function: {error}") from None
        fields = {name: Method.model_fields[name] for name in (*Step.model_fields, "then")}
        for name, field in fields.items():
            if getattr(self, name) != field.get_default(call_default_factory=True):
                raise ValueError(f"{name}: the function says all that is done; remove this, or `function`")
        return self

    def steps(self) -> list[Step]:
        """Return all steps of the method, none of a function, of which nothing is known."""
        if self.function is not None:
            return []
        own = {name: getattr(self, name) for name in Step.model_fields}
        return [Step.model_construct(**own), *self.then]

    def masks(self) -> bool:
        """Return whether masks are drawn for the method before it runs."""
        return any(isinstance(step.perturb, RandomMask) for step in self.steps())


class RatioSweep(Section):
    """One more fleet of a method for each mask ratio, for the figure of the score against the ratio."""

    of: str | None = None
    """The method, which begins with a random mask of one ratio. By default `random_mask`, or else the only
    method that begins with a mask."""
    ratios: list[Annotated[Number, Field(ge=0, le=1)]]
    """Mask ratios. 0 is the same repair without a mask; the ratio of the method itself is not listed."""


class Search(Section):
    """Trials of methods with other values, of which the best is chosen: the same budget for every method.

    It is meant for an experiment of its own, whose forget set is not the one that is reported.
    """

    trials: Annotated[int, Field(ge=1)]
    """Trials a method: so many combinations of its values, drawn from the seed."""
    budget: Annotated[Number, Field(gt=0, le=1)]
    """What a trial may cost at most, as a share of a retraining: in images passed, those of which a
    perturbation takes the gradient included."""
    spaces: Annotated[dict[str, dict[str, list[Any]]], Field(min_length=1)]
    """For each method that is tuned, the values to try, by their key within the method, such as
    `perturb.ratio`, `finetune.learning_rate` or, to choose among whole recipes, `finetune`."""


class Tuned(Section):
    """Methods whose hyper-parameters an earlier search chose."""

    file: str
    """The `chosen.yaml` of that search, relative to the root of the repository."""
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    """Which of its methods are added to those above, or all."""


class Shards(Section):
    """How many models one job trains. Results do not depend on it."""

    retrain: Annotated[int, Field(ge=1)] = 2
    """Retrained models a job."""
    unlearn: Annotated[int, Field(ge=1)] = 4
    """Unlearned models a job."""


class Experiment(Section):
    """What to study."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]
    """Name of the experiment: its results are in `results/<experiment>/`."""
    seed: Annotated[int, Field(ge=0)]
    """The root of all randomness: splits, initial weights, data orders and masks follow from it."""
    data: Data
    """The data set and its splits."""
    originals: Annotated[int, Field(ge=1)] = 1
    """Number of original models; each is unlearned by every method."""
    originals_of_others: Annotated[int, Field(ge=1)] | None = None
    """So many of the original models, the first, for methods that are not `main`; all unless given."""
    models: Annotated[int, Field(ge=2, le=9999)]
    """Number N of models a fleet; the resolution of the metric grows with it."""
    precision: Precision = "fp32"
    """Precision of matrix products while training: `fp32`, `bf16` (bfloat16 with 32-bit weights), or `auto`,
    which takes bf16 where the processor or the GPU has it and is faster with it. The evaluation is fp32."""
    replicates: Annotated[int, Field(ge=2)] = 200
    """Random subsets of the models behind every interval; below 100, for a first try, intervals are rough."""
    network: Annotated[str, Field(json_schema_extra={"enum": [*NETWORKS]})] = "resnet18"
    """The network, as torchvision builds it; one that is not stackable is trained one model at a time."""
    training: FineTuning
    """How the original model (on all training images) and the retrained models (without the forget set)
    are trained."""
    methods: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.]*$")], Method], Field(min_length=1)
    ]
    """The unlearning methods, by name; any, and at least one."""
    ratio_sweep: RatioSweep | None = None
    """Mask ratios to compare."""
    search: Search | None = None
    """Trials by which hyper-parameters are chosen; the choice is in `results/<experiment>/chosen.yaml`."""
    tuned: Tuned | None = None
    """Methods that an earlier search chose, in addition."""
    oracle: str | None = None
    """A folder of `reference/` whose retrained fleets are taken instead of training any: those of the same
    data, split, recipe and network, of which the first N models are used."""
    relearn: Relearning | None = None
    """How soon the forget set is learned again, as a further measure; computed only if it is given."""
    shards: Shards = Shards()
    """How the work is cut into jobs."""

    @field_validator("methods")
    @classmethod
    def _titled(cls, methods: dict[str, Method]) -> dict[str, Method]:
        # What a method is called stands in its file, too: those who name methods are given it.
        titles = {name: method.title or _title(name, method) for name, method in methods.items()}
        return {name: method.model_copy(update={"title": titles[name]}) for name, method in methods.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if (self.originals_of_others or 0) > self.originals:
            raise ValueError(
                f"originals_of_others: {self.originals_of_others}, but there are {self.originals}"
            )
        if self.oracle and self.relearn:
            raise ValueError("relearn: needs retrained models themselves; remove it, or `oracle`")
        if self.network not in NETWORKS:
            raise ValueError(f"network: unknown {self.network!r}; known are {', '.join(NETWORKS)}")
        earlier = getattr(self.data.forget, "of", "")
        if earlier.startswith(f"results/{self.experiment}/"):
            raise ValueError("data.forget.of: this experiment itself; name an earlier one")
        self._check_sweep()
        self._check_names()
        plain = Recipe.model_construct()
        if not isinstance(self.training.objective, CrossEntropy):
            raise ValueError("training.objective: networks are trained by `cross_entropy`; remove it")
        for key in ("images", "last", "salient", "unperturbed_gradient_scale"):
            if getattr(self.training, key) != getattr(plain, key):
                raise ValueError(f"training.{key}: for unlearning only; remove it")
        for key in ("last", "salient", "unperturbed_gradient_scale", "order"):
            if self.relearn and getattr(self.relearn.finetune, key) != getattr(plain, key):
                raise ValueError(f"relearn.finetune.{key}: for unlearning only; remove it")
        if self.relearn and self.relearn.models > self.models:
            raise ValueError(
                f"relearn.models: {self.relearn.models}, but a fleet has {self.models}; lower it"
            )
        for name in self.own():
            if self.relearn or name in self.searched():
                key = "relearn" if self.relearn else "search"
                raise ValueError(
                    f"methods.{name}.function: `{key}` is for methods of known steps; remove `{key}` here"
                )
        self._check_last_batches()
        self._check_trials()
        return self

    def _check_sweep(self) -> None:
        if not self.ratio_sweep:
            return
        base = self.swept_method()
        if base not in self.methods:
            raise ValueError(f"ratio_sweep.of: {base or 'missing'}; name the method whose ratio is varied")
        if base in self.searched():
            raise ValueError(f"ratio_sweep.of: {base} is searched, so that it is run in trials alone")
        own = self._mask(base).ratio
        ratios = [_plain(ratio) for ratio in [*self.ratio_sweep.ratios, own]]
        if len(set(ratios)) < len(ratios):
            twice = next(ratio for ratio in ratios if ratios.count(ratio) > 1)
            itself = f", which is that of {base} itself" if twice == _plain(own) else ""
            raise ValueError(f"ratio_sweep.ratios: {twice} stands twice{itself}; remove one")
        for name in self._swept():
            if name in self.methods:
                raise ValueError(f"methods.{name}: the sweep makes a method of this name; choose another")

    def _check_names(self) -> None:
        known = {*self.methods, *self._swept()}
        for name, method in self.methods.items():
            if name in RESERVED:
                raise ValueError(f"methods.{name}: this name is reserved; choose another")
            named = [("variant_of", method.variant_of)] if method.variant_of is not None else []
            named += [("compare_with", other) for other in method.compare_with if other != "retrain"]
            for key, other in named:
                if other not in known - {name}:
                    wrong = f"methods.{name}.{key}: there is no other method {other}"
                    raise ValueError(f"{wrong}; correct its name")

    def originals_of(self, method: str) -> int:
        """Return from how many original models a method, `original` or `retrain` has a row."""
        chosen = self.all_methods().get(method)
        fewer = self.originals_of_others if chosen and not chosen.main else None
        return fewer or self.originals

    def _check_trials(self) -> None:
        share = self.search.budget if self.search else 0
        allowed = share * self.training.epochs * self._sizes()["retain"]
        trials = self.trials()
        for name, values_by_trial in self.trial_values().items():
            for trial in values_by_trial:
                if trial in self.methods:
                    raise ValueError(f"methods.{trial}: the search makes one of this name; choose another")
                steps = trials[trial].steps()
                passed = max(sum(step.work(self._sizes(), model)[0] for step in steps) for model in (0, 1))
                if passed > allowed:
                    raise ValueError(
                        f"search.spaces.{name}: a trial passes {passed:,} images a model, more than the "
                        f"budget of {allowed:,.0f}; lower its epochs or cycles"
                    )

    def _sizes(self) -> dict[str, int]:
        retain = self.data.train - self.data.forgotten
        return {"retain": retain, "forget": self.data.forgotten, "validation": self.data.validation}

    def batches(self) -> list[tuple[str, str, int | None]]:
        """Return what passes over a split in batches: its key, the split, and the size of a batch.

        The split is one of those of the data, or `train`, retain and forget set together. What is paired has
        no such size: its images come round, so that all batches are full.
        """
        uses: list[tuple[str, str, int | None]] = [
            ("training.batch", split, self.training.batch) for split in ("train", "retain")
        ]
        if self.relearn:
            uses.append(("relearn.finetune.batch", "forget", self.relearn.finetune.batch))
        methods = [(f"methods.{name}.finetune.", method) for name, method in self.methods.items()]
        trials = self.trials()
        for name, values_by_trial in self.trial_values().items():
            methods += [(f"search.spaces.{name}: finetune.", trials[trial]) for trial in values_by_trial]
        for key, method in methods:
            for recipe in (recipe for step in method.steps() for recipe in step.finetune):
                uses.append((f"{key}batch", recipe.images, recipe.batch))
                if recipe.paired_with:
                    uses.append((f"{key}paired_with", recipe.paired_with, None))
        return uses

    def _check_last_batches(self) -> None:
        if not self.data.forgotten:
            return  # `prepare_data` knows
        sizes = self._sizes() | {"train": self.data.train}
        for key, split, batch in self.batches():
            try:
                check_last_batch(key, sizes[split], batch)
            except InputError as error:
                raise ValueError(str(error)) from None

    def cautions(self) -> list[str]:
        """Return what is allowed but may mislead, a line each."""
        found = []
        if self.replicates < ENOUGH_REPLICATES:
            found.append(
                f"replicates: {self.replicates} are for a first try; take {ENOUGH_REPLICATES} or more for "
                "intervals that are reported"
            )
        first: dict[tuple[str, bool], str] = {}
        for name, method in self.methods.items():
            other = first.setdefault((str(method.title), method.tuned_from is not None), name)
            if other != name:
                found.append(f"methods.{name}.title: {method.title} is that of {other}, too; give it another")
        return found

    def all_methods(self) -> dict[str, Method]:
        """Return the methods by name that are run.

        These include the ratio sweep and the trials of a search; what is searched is run in trials alone.
        """
        own = {name: method for name, method in self.methods.items() if name not in self.searched()}
        return {**own, **self._swept(), **self.trials()}

    def own(self) -> list[str]:
        """Return the methods that are functions of a person's own."""
        return [name for name, method in self.methods.items() if method.function is not None]

    def searched(self) -> set[str]:
        """Return the methods that a search runs in trials alone."""
        return set(self.search.spaces if self.search else ())

    def trials(self) -> dict[str, Method]:
        """Return the trials of the search, by name: `<method>.trial_<number>`."""
        return self._trials if self.search else {}  # a copy without a search has the trials of its source

    @cached_property
    def _trials(self) -> dict[str, Method]:
        trials = {}
        for name, values_by_trial in self.trial_values().items():
            for number, (trial, values) in enumerate(values_by_trial.items()):
                try:
                    method = _replaced(self.methods[name], values)
                except ValueError as error:
                    raise ValueError(f"search.spaces.{name}: {error}") from None
                trials[trial] = method.model_copy(update={"title": f"{method.title}, trial {number}"})
        return trials

    def trial_values(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return what the trials of each method set: by method and by trial, values by dotted key."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        if self.search is None:
            return found
        for name, space in self.search.spaces.items():
            if name not in self.methods:
                raise ValueError(f"search.spaces.{name}: no method of this name")
            combinations = list(itertools.product(*space.values()))
            if len(combinations) < self.search.trials:
                raise ValueError(
                    f"search.spaces.{name}: {len(combinations)} combinations, but every method gets "
                    f"{self.search.trials} trials; add values"
                )
            drawn = generator(self.seed, "search", 0, name).permutation(len(combinations))
            found[name] = {
                f"{name}.trial_{number}": dict(zip(space, combinations[index], strict=True))
                for number, index in enumerate(sorted(drawn[: self.search.trials]))
            }
        return found

    def shown(self) -> list[str]:
        """Return what tables and figures show: the methods, and the repair without a mask as a control."""
        names = [name for name in self.methods if name not in self.searched()]
        base, unmasked = self.swept_method(), self.unmasked()
        if base and unmasked and unmasked not in names:
            names.insert(names.index(base), unmasked)
        return names

    def drawn(self) -> list[str]:
        """Return the methods that are compared in detail: all, or of many the main ones."""
        shown, methods = self.shown(), self.all_methods()
        main = [name for name in shown if methods[name].main]
        return shown if len(shown) <= FEW else main or shown[:FEW]

    def tuned_methods(self) -> list[str]:
        """Return the methods whose values a search chose."""
        return [name for name in self.shown() if self.all_methods()[name].tuned_from is not None]

    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of methods whose difference is computed."""
        pairs: list[tuple[str, str]] = []
        for name, method in self.methods.items():
            others = [*([method.variant_of] if method.variant_of else []), *method.compare_with]
            if name == self.swept_method():
                others += self._swept()
            if method.main and method.tuned_from and method.group != "control":
                others += [other for other in [*self.shown(), "retrain"] if other != name]
            pairs += [(name, other) for other in others]
        run = {*self.all_methods(), "retrain"}
        return [pair for pair in dict.fromkeys(pairs) if run.issuperset(pair)]

    def ablations(self) -> list[tuple[str, str]]:
        """Return every variant of a method, with that method."""
        pairs = [(name, method.variant_of) for name, method in self.methods.items() if method.variant_of]
        return [pair for pair in pairs if pair in self.pairs()]

    def swept_method(self) -> str | None:
        """Return the method whose mask ratio is varied, if there is a sweep."""
        if self.ratio_sweep is None or self.ratio_sweep.of is not None:
            return self.ratio_sweep.of if self.ratio_sweep else None
        masked = [name for name, method in self.methods.items() if isinstance(method.perturb, RandomMask)]
        return "random_mask" if "random_mask" in masked else masked[0] if len(masked) == 1 else None

    def unmasked(self) -> str | None:
        """Return the fleet of the sweep that is repaired without a mask, if there is one."""
        return self.ratio_series().get(0.0)

    def ratio_series(self) -> dict[float, str]:
        """Return the fleet that stands for each mask ratio of the sweep: {ratio: method name}, sorted."""
        base = self.swept_method()
        if self.ratio_sweep is None or base is None:
            return {}
        series = dict(zip(self.ratio_sweep.ratios, self._swept(), strict=True))
        return dict(sorted({**series, self._mask(base).ratio: base}.items()))

    def _swept(self) -> dict[str, Method]:
        """Return the fleets of the sweep by name: `<method>_ratio_<ratio>`."""
        base = self.swept_method()
        if self.ratio_sweep is None or base is None:
            return {}
        swept, method = {}, self.methods[base]
        for ratio in self.ratio_sweep.ratios:
            fields: dict[str, Any] = {"variant_of": base, "compare_with": []}
            fields["perturb"] = self._mask(base).model_copy(update={"ratio": ratio})
            if ratio > 0:
                fields |= {"title": f"{method.title} ratio {_plain(ratio)}", "main": False}
            else:
                fields |= {"title": "Same repair, no mask", "group": "control"}
            swept[f"{base}_ratio_{_plain(ratio)}"] = method.model_copy(update=fields)
        return swept

    def _mask(self, base: str) -> RandomMask:
        """Return the mask with which a method begins."""
        perturb = self.methods[base].perturb
        if not isinstance(perturb, RandomMask) or perturb.ratio_to is not None:
            raise ValueError(f"ratio_sweep.of: {base} has no mask of one ratio; name another method")
        return perturb


def _title(name: str, method: Method) -> str:
    """Return the title of a perturbation of a method's name, or one made of its name."""
    name = method.tuned_from or name
    return method.perturb.title if name == method.perturb.name else name.replace("_", " ").capitalize()


def _plain(ratio: float) -> str:
    """Return a number in six digits and without an exponent, whose sign no name of a method may have."""
    return np.format_float_positional(float(f"{ratio:g}"), trim="-")


def load(path: Path | str) -> Experiment:
    """Read and check a configuration file.

    Raises:
        InputError: in one line, which names the file, the key and the remedy.
    """
    return validate(read(path), source=str(path))


def read(path: Path | str) -> Any:
    """Return the content of a configuration file, unchecked but for keys that stand twice.

    Raises:
        InputError: in one line, which names the file and the remedy.
    """
    try:
        if not Path(path).exists():
            raise InputError(f"{path}: no such configuration file")
        return yaml.load(read_text(path), _Loader)
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{path}: {error.strerror}; correct the path") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from None
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # a date that is none, and the like
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        names = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"line {line}: a key that is a list or a mapping; keys are names")
            if key.tag != "tag:yaml.org,2002:merge" and key.value in names:
                raise yaml.YAMLError(f"line {line}: `{key.value}` stands twice; remove one, or rename it")
            names.add(key.value)
        return super().construct_mapping(node, deep)


def _only(section: Any) -> Any:
    """Return the one item of a list, and anything else as it is."""
    return section[0] if isinstance(section, list) and len(section) == 1 else section


def _replaced(method: Method, values: dict[str, Any]) -> Method:
    """Return a method with other values, by their dotted keys; a single recipe needs no number."""
    content = method.model_dump(exclude_none=True)
    for key, value in values.items():
        *parents, last = key.split(".")
        section: Any = content
        for parent in parents:
            try:
                section = _only(section)[parent] if not parent.isdigit() else section[int(parent)]
            except (KeyError, IndexError, TypeError):
                raise ValueError(f"{key}: no such key") from None
        section = _only(section)
        if not isinstance(section, dict):
            raise ValueError(f"{key}: name one of the recipes by its number, such as finetune.0.{last}")
        section[last] = value
    try:
        return Method.model_validate(content)
    except ValidationError as error:
        raise ValueError("; ".join(_explained(error))) from None


def validate(content: Any, *, source: str = "config") -> Experiment:
    """Check a configuration that has been read already, from a file that messages call `source`.

    Raises:
        InputError: in one line for each mistake, which names the file, the key and the remedy.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: a configuration is a mapping of keys to values")
    content = _with_tuned(content, source)
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise InputError("\n".join(f"{source}: {one}" for one in _explained(error))) from None


def _with_tuned(content: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a configuration with the methods of its `tuned` file."""
    tuned, methods = content.get("tuned"), content.get("methods")
    if not isinstance(tuned, dict) or not isinstance(methods, dict) or not isinstance(tuned.get("file"), str):
        return content
    named = tuned.get("methods") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return content  # it is a mistake, and named with the others
    path = tuned["file"]
    try:
        there = Path(path).exists()
    except OSError as error:
        raise InputError(f"{source}: tuned.file: {path}: {error.strerror}; correct the path") from None
    if not there:
        raise InputError(
            f"{source}: tuned.file: {path} does not exist; a `search` makes such a file, or remove the key"
        )
    try:
        chosen = read(path)["methods"]
        names = named or list(chosen)
        for name in names:
            # What is read again, as a stage's settings, has them already, with the key.
            own = methods.get(name)
            if isinstance(own, dict) and "tuned_from" in chosen[name] and "tuned_from" not in own:
                raise InputError(
                    f"{source}: methods.{name}: {path} has one of this name; choose another, or leave that "
                    "out of tuned.methods"
                )
        return content | {"methods": {**methods, **{n: methods.get(n, chosen[n]) for n in names}}}
    except KeyError as error:
        raise InputError(f"{source}: tuned.methods: {path} has no {error.args[0]}") from None
    except TypeError:
        raise InputError(f"{path}: not a file of chosen methods; make it again, or remove `tuned`") from None


UNIONS = ("perturb", "forget", "objective", "schedule")
"""Keys whose sections are told apart by a name in them, or values by their kind."""

RENAMED = {
    "balance": "balance of the objective: objective: {name: ..., balance: ...}",
    "class_weights": "class_weight_exponent of the objective: {name: ..., class_weight_exponent: 1}",
    "drawn": "per",
    "held": "frozen",
    "kept_gradient": "unperturbed_gradient_scale",
    "labels": "with_labels of the objective: {name: relabel, with_labels: ...}",
    "most": "max_inverse_fisher",
    "temperature": "temperature of the objective: objective: {name: ..., temperature: ...}",
}
"""Keys by their older names."""


def _explained(error: ValidationError) -> list[str]:
    """Return what is wrong, one line a mistake."""
    return [_explain(one) for one in error.errors() if not _of_another_kind(one)]


def _of_another_kind(error: Mapping[str, Any]) -> bool:
    """Return whether an error is that a list is no word, or a word no list, where both are allowed."""
    listed = isinstance(error["input"], list)
    unfit, member = ("literal_error", "literal[") if listed else ("list_type", "list[")
    path = ("", "", *map(str, error["loc"]))
    return path[-2] == "schedule" and path[-1].startswith(member) and bool(error["type"] == unfit)


def _explain(error: Mapping[str, Any]) -> str:
    # Names of union members are part of pydantic's location, not of the file; a single recipe has no number.
    # A method may be called like a key of these.
    path = ("", "", *map(str, error["loc"]))
    parts = [
        part
        for of, key, part in zip(path, path[1:], path[2:], strict=False)
        if part not in ("[key]", "0") and (key not in UNIONS or of == "methods")
    ]
    key = ".".join(parts)
    match error["type"]:
        case "extra_forbidden" if parts and parts[-1] in RENAMED and parts[0] != "data":
            return f"{key}: is now called {RENAMED[parts[-1]]}"
        case "extra_forbidden":
            return f"{key}: unknown key; remove it or correct its name"
        case "missing":
            return f"{key}: missing"
        case "value_error":
            said = str(error["ctx"]["error"])
            # What checks a whole section names the key within it.
            between = "." if re.match(r"[\w.-]+( \+ [\w.-]+)*: ", said) else ": "
            return f"{key}{between}{said}" if key else said
        case "union_tag_not_found":
            return f"{key}.{error['ctx']['discriminator'].strip(chr(39))}: missing"
        case "literal_error" if parts[-1] == "images" and error["input"] == "both":
            return f"{key}: both is now images: retain, paired_with: forget"
        case "union_tag_invalid":
            told_by, tag, known = (error["ctx"][name] for name in ("discriminator", "tag", "expected_tags"))
            return f"{key}.{told_by.strip(chr(39))}: unknown {tag!r}; known are {known}"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{key}: {message}, not {error['input']!r}"


def json_schema() -> str:
    """Return the JSON schema of a configuration file, as text."""
    return json.dumps(Experiment.model_json_schema(), indent=2) + "\n"
