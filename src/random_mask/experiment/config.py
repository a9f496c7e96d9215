"""The configuration of an experiment: what is studied, checked before anything runs.

A configuration is one YAML file under `config/`. These classes are its schema; the JSON schema in
`workflow/schemas/` is generated from them. Unknown keys are errors.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from random_mask.errors import InputError
from random_mask.seeds import generator
from random_mask.settings import Data, Number, Precision, RandomMask, Recipe, Relearning, Section, Step
from random_mask.training.cost import passes

__all__ = ["Experiment", "Method", "json_schema", "load", "validate"]

RESERVED = ("original", "retrain", "oracle")
"""Names of fleets that no method may take."""

TUNED = "random_mask_tuned"
"""The variant of random mask that this project's own search chose."""

STUDIED = {"finetune": None, "random_mask": "published", "random_mask_described": "described"}
"""Methods that the paper speaks of, and what their masks spare; every experiment has them."""


class Method(Step):
    """An unlearning method: perturb the original weights, then fine-tune them."""

    then: list[Step] = Field(default_factory=list)
    """Further steps, for methods that take more than one."""

    def steps(self) -> list[Step]:
        """Return all steps of the method."""
        own = {name: getattr(self, name) for name in Step.model_fields}
        return [Step.model_construct(**own), *self.then]

    def masks(self) -> bool:
        """Return whether masks are drawn for the method before it runs."""
        return any(isinstance(step.perturb, RandomMask) for step in self.steps())


class RatioSweep(Section):
    """One more fleet of random_mask for each mask ratio, for the figure of the score against the ratio."""

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

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    """Name of the experiment: its results are in `results/<experiment>/`."""
    seed: Annotated[int, Field(ge=0)]
    """The root of all randomness: splits, initial weights, data orders and masks follow from it."""
    data: Data
    """The data set and its splits."""
    originals: Annotated[int, Field(ge=1)] = 1
    """Number of original models; each is unlearned by every method."""
    models: Annotated[int, Field(ge=2, le=9999)]
    """Number N of models a fleet; the resolution of the metric grows with it."""
    precision: Precision = "fp32"
    """Precision of matrix products while training: `fp32`, `bf16` (bfloat16 with 32-bit weights), or `auto`,
    which takes bf16 where the processor or the GPU has it and is faster with it. The evaluation is fp32."""
    replicates: Annotated[int, Field(ge=100)] = 200
    """Random subsets of the models behind every interval."""
    training: Recipe
    """How the original model (on all training images) and the retrained models (without the forget set)
    are trained."""
    methods: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.]*$")], Method]
    """The unlearning methods, by name."""
    ratio_sweep: RatioSweep | None = None
    """Mask ratios to compare."""
    search: Search | None = None
    """Trials by which hyper-parameters are chosen; the choice is in `results/<experiment>/chosen.yaml`."""
    tuned: Tuned | None = None
    """Methods that an earlier search chose, in addition."""
    relearn: Relearning | None = None
    """How soon the forget set is learned again, as a further measure; computed only if it is given."""
    shards: Shards = Shards()
    """How the work is cut into jobs."""

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        for name in self.methods:
            if name in RESERVED:
                raise ValueError(f"methods.{name}: this name is reserved; choose another")
        for name, spare in STUDIED.items():
            if name not in self.methods:
                raise ValueError(f"methods.{name}: missing; the paper compares {', '.join(STUDIED)}")
            perturb = self.methods[name].perturb
            if spare != getattr(perturb, "spare", None) or getattr(perturb, "ratio_to", None) is not None:
                raise ValueError(
                    f"methods.{name}.perturb: the paper takes this method for "
                    + (
                        f"random_mask with one ratio and spare: {spare}"
                        if spare
                        else "fine-tuning without a perturbation"
                    )
                    + "; give yours another name"
                )
        earlier = getattr(self.data.forget, "of", "")
        if earlier.startswith(f"results/{self.experiment}/"):
            raise ValueError("data.forget.of: this experiment itself; name an earlier one")
        if self.ratio_sweep:
            own = self.methods["random_mask"].perturb.ratio
            ratios = [f"{ratio:g}" for ratio in [*self.ratio_sweep.ratios, own]]
            if len(set(ratios)) < len(ratios):
                raise ValueError(
                    f"ratio_sweep.ratios: a ratio stands twice; {own:g} is that of random_mask itself"
                )
            for name, _ in self._swept():
                if name in self.methods:
                    raise ValueError(f"methods.{name}: the sweep makes a method of this name; choose another")
        plain = Recipe.model_construct()
        for key in ("objective", "images", "labels", "last", "salient", "kept_gradient"):
            if getattr(self.training, key) != getattr(plain, key):
                raise ValueError(f"training.{key}: for unlearning only; remove it")
        for key in ("labels", "last", "salient", "kept_gradient", "order"):
            if self.relearn and getattr(self.relearn.finetune, key) != getattr(plain, key):
                raise ValueError(f"relearn.finetune.{key}: for unlearning only; remove it")
        if self.relearn and self.relearn.models > self.models:
            raise ValueError(
                f"relearn.models: {self.relearn.models}, but a fleet has {self.models}; lower it"
            )
        self._check_last_batches()
        self._check_trials()
        return self

    def _check_trials(self) -> None:
        share = self.search.budget if self.search else 0
        allowed = share * self.training.epochs * self._sizes()["retain"]
        for trial, definition in self.trials().items():
            passed = max(sum(passes(definition.steps(), self._sizes(), model)[:2]) for model in (0, 1))
            if passed > allowed:
                name = trial.partition(".trial_")[0]
                raise ValueError(
                    f"search.spaces.{name}: a trial passes {passed:,} images a model, more than the budget "
                    f"of {allowed:,.0f}; lower its epochs or cycles"
                )

    def _sizes(self) -> dict[str, int]:
        retain = self.data.train - self.data.forgotten
        return {"retain": retain, "forget": self.data.forgotten, "validation": self.data.validation}

    def _check_last_batches(self) -> None:
        retain = self.data.train - self.data.forgotten
        uses = [("training.batch", self.data.train, self.training), ("training.batch", retain, self.training)]
        sizes = self._sizes()
        if self.relearn:
            uses.append(("relearn.finetune.batch", sizes["forget"], self.relearn.finetune))
        for name, method in self.methods.items():
            recipes = [recipe for step in method.steps() for recipe in step.finetune]
            uses += [
                (f"methods.{name}.finetune.batch", sizes[recipe.passed_over], recipe) for recipe in recipes
            ]
        for key, images, recipe in uses:
            if images % recipe.batch == 1:
                raise ValueError(
                    f"{key}: {images} images in batches of {recipe.batch} leave a last batch of one image, "
                    "on which batch norm is undefined; change it by one"
                )

    def all_methods(self) -> dict[str, Method]:
        """Return the methods by name that are run.

        These include the ratio sweep and the trials of a search; what is searched is run in trials alone.
        """
        swept = {name: method for name, method in self._swept() if method is not None}
        searched = set(self.search.spaces if self.search else ()) - set(STUDIED)
        own = {name: method for name, method in self.methods.items() if name not in searched}
        return {**own, **swept, **self.trials()}

    def trials(self) -> dict[str, Method]:
        """Return the trials of the search, by name: `<method>.trial_<number>`."""
        trials = {}
        for trial, values in self.trial_values().items():
            name = trial.partition(".trial_")[0]
            try:
                trials[trial] = _replaced(self.methods[name], values)
            except ValueError as error:
                raise ValueError(f"search.spaces.{name}: {error}") from None
        return trials

    def trial_values(self) -> dict[str, dict[str, Any]]:
        """Return what each trial of the search sets, by dotted key."""
        drawn_values = {}
        for name, space in self.search.spaces.items() if self.search else ():
            if name not in self.methods:
                raise ValueError(f"search.spaces.{name}: no method of this name")
            places = list(itertools.product(*space.values()))
            if len(places) < self.search.trials:
                raise ValueError(
                    f"search.spaces.{name}: {len(places)} combinations, but every method gets "
                    f"{self.search.trials} trials; add values"
                )
            drawn = generator(self.seed, "search", 0, name).permutation(len(places))[: self.search.trials]
            for number, place in enumerate(sorted(drawn)):
                drawn_values[f"{name}.trial_{number}"] = dict(zip(space, places[place], strict=True))
        return drawn_values

    def shown(self) -> list[str]:
        """Return what tables and figures show: the methods, and the repair without a mask as a control."""
        names = [name for name in self.methods if name in self.all_methods()]
        unmasked = self.ratio_series().get(0.0)
        if unmasked and unmasked not in names:
            names.insert(names.index("random_mask"), unmasked)
        return names

    def drawn(self) -> list[str]:
        """Return the methods that are compared in detail: all, or of many those that the paper studies."""
        shown = self.shown()
        studied = {*STUDIED, TUNED, "unmasked_tuned", self.ratio_series().get(0.0)}
        return shown if len(shown) <= 6 else [name for name in shown if name in studied]

    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of methods whose difference the paper speaks of."""
        pairs = [
            ("random_mask", "finetune"),
            ("random_mask_described", "random_mask"),
            ("random_mask", "retrain"),
            ("finetune", "retrain"),
        ]
        pairs += [("random_mask", name) for name in self.ratio_series().values() if name != "random_mask"]
        pairs += self.ablations()
        # The tuned one against all others.
        if TUNED in self.methods:
            others = [name for name in [*self.shown(), "retrain"] if name != TUNED]
            pairs += [(TUNED, other) for other in others]
        return list(dict.fromkeys(pairs))

    def ablations(self) -> list[tuple[str, str]]:
        """Return every variant of random mask with the plain one that spares the same tensors."""
        plain = {spare: name for name, spare in STUDIED.items() if spare}
        variants = [
            (name, plain[getattr(method.perturb, "spare", "published")])
            for name, method in self.methods.items()
            if name.startswith("random_mask_") and name not in {*STUDIED, TUNED}
        ]
        return [("random_mask_described", "random_mask"), *variants]

    def ratio_series(self) -> dict[float, str]:
        """Return the fleet that stands for each mask ratio of the sweep: {ratio: method name}, sorted."""
        if self.ratio_sweep is None:
            return {}
        base = self.methods["random_mask"]
        series = dict(zip(self.ratio_sweep.ratios, dict(self._swept()), strict=True))
        return dict(sorted({**series, base.perturb.ratio: "random_mask"}.items()))

    def _swept(self) -> list[tuple[str, Method | None]]:
        if self.ratio_sweep is None:
            return []
        base = self.methods["random_mask"]
        return [
            (
                f"random_mask_ratio_{ratio:g}",
                base.model_copy(update={"perturb": base.perturb.model_copy(update={"ratio": ratio})}),
            )
            for ratio in self.ratio_sweep.ratios
        ]


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
        return yaml.load(Path(path).read_text(), _Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such configuration file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        names = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in names:
                line = key.start_mark.line + 1
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
        raise ValueError("; ".join(_explain(one) for one in error.errors())) from None


def validate(content: Any, *, source: str = "config") -> Experiment:
    """Check a configuration that has been read already.

    Args:
        content: the content of a configuration file.
        source: the name of that file, for messages.

    Raises:
        InputError: in one line for each mistake, which names the file, the key and the remedy.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: a configuration is a mapping of keys to values")
    content = _with_tuned(content, source)
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise InputError("\n".join(f"{source}: {_explain(e)}" for e in error.errors())) from None


def _with_tuned(content: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a configuration with the methods of its `tuned` file."""
    tuned, methods = content.get("tuned"), content.get("methods")
    if not isinstance(tuned, dict) or not isinstance(methods, dict) or not isinstance(tuned.get("file"), str):
        return content
    path = tuned["file"]
    try:
        chosen = yaml.safe_load(Path(path).read_text())["methods"]
        names = tuned.get("methods") or list(chosen)
        # What is read again, as a stage's settings, has them already.
        return content | {"methods": {**methods, **{n: methods.get(n, chosen[n]) for n in names}}}
    except FileNotFoundError:
        raise InputError(
            f"{source}: tuned.file: {path} does not exist; a `search` makes such a file, or remove the key"
        ) from None
    except KeyError as error:
        raise InputError(f"{source}: tuned.methods: {path} has no {error.args[0]}") from None
    except (yaml.YAMLError, TypeError):
        raise InputError(f"{path}: not a file of chosen methods; make it again, or remove `tuned`") from None


def _explain(error: dict[str, Any]) -> str:
    # Names of union members are part of pydantic's location, not of the file; a single recipe has no number.
    parts = [
        str(p)
        for at, p in enumerate(error["loc"])
        if p not in ("[key]", 0) and (at == 0 or error["loc"][at - 1] not in ("perturb", "forget"))
    ]
    key = ".".join(parts)
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; remove it or correct its name"
        case "missing":
            return f"{key}: missing"
        case "value_error":
            return f"{key}{'.' if key else ''}{error['ctx']['error']}"
        case "union_tag_invalid":
            told_by, tag, known = (error["ctx"][name] for name in ("discriminator", "tag", "expected_tags"))
            return f"{key}.{told_by.strip(chr(39))}: unknown {tag!r}; known are {known}"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{key}: {message}, not {error['input']!r}"


def json_schema() -> str:
    """Return the JSON schema of a configuration file, as text."""
    return json.dumps(Experiment.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    try:
        load(sys.argv[1])
    except InputError as error:
        sys.exit(str(error))
