"""Which files an experiment consists of. What jobs read is planned here; the rules spell what they write."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from random_mask.artifacts.files import read_text
from random_mask.artifacts.records import first_damaged
from random_mask.data.folders import Listing, fingerprint, listing
from random_mask.data.settings import ARCHIVES
from random_mask.data.splits import read_split
from random_mask.errors import InputError
from random_mask.experiment.config import Experiment, Method, load
from random_mask.methods import catalogue
from random_mask.methods.own.function import check, files_of, located
from random_mask.methods.random_mask import RandomMask
from random_mask.training.networks import NETWORKS

__all__ = ["Plan", "as_settings", "paper_sources", "shards"]

RETRAINED = ("oracle", "retrain")
"""The fleets of retrained models: what all methods are compared with, and the ceiling."""
UNKNOWN_CLASSES = 10
"""For how many classes memory is asked of an archive of images that has not been read yet."""


def shards(models: int, size: int) -> list[tuple[int, int]]:
    """Cut `models` models into jobs of at most `size`: the first and the last model of each."""
    return [(first, min(first + size, models) - 1) for first in range(0, models, size)]


def paper_sources(folder: str = "paper") -> list[str]:
    """Return the sources of the paper, sorted."""
    suffixes = (".tex", ".sty", ".bib", ".bst")
    return sorted(str(path) for path in Path(folder).rglob("*") if path.suffix in suffixes)


@dataclass(frozen=True)
class Plan:
    """The files of one experiment, relative to the root of the repository."""

    experiment: Experiment

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods that are run, by name: those of a search are made of its values."""
        return self.experiment.all_methods()

    @property
    def judged_methods(self) -> list[str]:
        """Those with rows in the scores: the original model, untouched, and the ceiling count as methods."""
        return ["original", *self.methods, "retrain"]

    @property
    def results(self) -> str:
        """The folder of all results."""
        return f"results/{self.experiment.experiment}"

    def path(self, name: str) -> str:
        """Return the path of a file in the folder of results."""
        return f"{self.results}/{name}"

    def fleet(self, role: str, suffix: str = "npz") -> list[str]:
        """Return the shards of a fleet.

        Args:
            role: `oracle`, `retrain`, `original/<number>` or `<method>/original-<number>`.
            suffix: `npz`, the logits, or `json`, the cost.
        """
        if role.startswith("original/"):
            return [self.path(f"fleets/{role}/models.{suffix}")]
        if role in RETRAINED and self.experiment.oracle:
            return [f"{self.experiment.oracle}/retrained/{role}/models.{suffix}"]
        own = role.partition("/")[0] in self.experiment.own()
        return self._shards("own" if own else "fleets", role, suffix)

    def judged(self, method: str, original: int | str) -> list[str]:
        """Return the shards of the fleet that stands for a method applied to an original model."""
        return self.fleet(self.role(method, original))

    def all_fleets(self, suffix: str) -> list[str]:
        """Return the shards of all fleets."""
        roles = ["oracle", *(self.role(method, number) for method, number in self.rows)]
        return [path for role in dict.fromkeys(roles) for path in self.fleet(role, suffix)]

    def check_target(
        self, wildcards: Any, *, made_by: Literal["steps", "function"] | None = None, needs: str | None = None
    ) -> None:
        """Check that the experiment has what a file that is asked for would be made of.

        Args:
            wildcards: of the file; if there is a `method`, or a `role` of one, it must be known.
            made_by: how that method must unlearn: by steps of its configuration, or a function of one's own.
            needs: a section that its configuration must have.

        Raises:
            InputError: in one line, if not.
        """
        if needs is not None and getattr(self.experiment, needs) is None:
            raise InputError(f"{self.results}: its configuration has no `{needs}`, so there is no such file")
        of_role, _, number = wildcards.get("role", "").partition("/original-")
        name = wildcards.get("method", of_role if number else None)
        known = [*self.methods] if made_by or number else self.judged_methods
        if name is not None and name not in known:
            raise InputError(f"{self.results}: has no method {name}; there are {', '.join(known)}")
        own = name in self.experiment.own()
        if made_by == "function" and not own:
            raise InputError(f"{name}: no function of your own; its fleets are in {self.path('fleets')}")
        if made_by == "steps" and own:
            raise InputError(f"{name}: a function of your own, whose fleets are in {self.path('own')}")

    def mask_tables(self) -> list[str]:
        """Return the counts of masked weights of the methods that draw masks."""
        return [
            path
            for name, method in self.experiment.methods.items()
            if method.masks() and name not in self.experiment.searched()
            for number in range(self.experiment.originals_of(name))
            for path in self._shards("masks", self.role(name, number), "csv")
        ]

    @property
    def data_files(self) -> list[str]:
        """The files that the data set is read from: archives, and files that the configuration names."""
        data = self.experiment.data
        named = [data.path, data.groups, data.leave_out, getattr(data.forget, "file", None)]
        named += [getattr(data.forget, name, None) for name in ("of", "split_table")]
        files = [name for name in named if name is not None]
        if data.path is not None and Path(data.path).is_dir():
            files.remove(data.path)
        return [*ARCHIVES.get(data.name, []), *files]

    def missing_data(self) -> str | None:
        """Return what to do first, if the data set cannot be read as it is, but for what a rule makes."""
        made = [*ARCHIVES.get(self.experiment.data.name, []), *self._of_another]
        try:
            name = next(
                (path for path in self.data_files if path not in made and not Path(path).is_file()), None
            )
        except OSError as error:  # a name that is too long, a folder that may not be entered
            return f"{error.filename}: {error.strerror}; correct it in `data` of the configuration"
        if name is None:
            try:
                listing(self.experiment.data)
            except InputError as error:
                return str(error)
            return None
        if Path(name).is_dir():
            return f"{name}: a folder; name a file in `data` of the configuration"
        encoding = sys.getfilesystemencoding()
        locale = (
            ""
            if name.isascii() or encoding == "utf-8"
            else f" (as names of {encoding}; LC_ALL=C.UTF-8 may help)"
        )
        return (
            f"{name}: no such file or folder{locale}, but the experiment {self.experiment.experiment} needs "
            "it; put it there (the head of its configuration may say where it is from), or correct its name "
            "in `data`"
        )

    @property
    def _of_another(self) -> list[str]:
        """The files of another experiment that the forget set is chosen by; the workflow makes them."""
        forget = self.experiment.data.forget
        named = [Path(getattr(forget, name, None) or "") for name in ("of", "split_table")]
        return [str(path) for path in named if path.parts[:1] == ("results",)]

    @property
    def data_state(self) -> str:
        """What tells the files that are read from others: the hash of their names and contents.

        Snakemake looks at the content of a file only if it is newer than what was made of it. Archives that a
        rule downloads are known by their sums.
        """
        made = [*ARCHIVES.get(self.experiment.data.name, []), *self._of_another]
        files = {name: name for name in self.data_files if name not in made} | self._images.files
        return fingerprint(files.items(), Path(self.path("data/state.json"))) if files else ""

    @property
    def batches(self) -> list[tuple[str, str, int | None]]:
        """What passes over splits in batches, where the sizes of these are not known before they are read."""
        return [] if self.experiment.data.forgotten else self.experiment.batches()

    def own_state(self, method: str) -> str:
        """What tells the files of a person's own function from others: the hash of their contents."""
        files = {name: name for name in self.own_files(method)}
        return fingerprint(files.items(), Path(self.path(f"own/{method}/state.json")))

    @property
    def classes(self) -> int:
        """The number of classes: of the data set, its folder, its split once that is there, or a guess."""
        known = self.experiment.data.classes or len(self._images.classes())
        if known:
            return known
        table = self.path("data/split.csv")
        try:
            return 1 + max(int(labels.max()) for labels in read_split(read_text(table), table)[1].values())
        except InputError:
            return UNKNOWN_CLASSES

    @property
    def _images(self) -> Listing:
        """The images of a folder, or none if there is none, or what is in it cannot be read."""
        try:
            return listing(self.experiment.data)
        except InputError:
            return Listing()

    def masks(self, method: str, original: str, first: str, last: str) -> list[str]:
        """Return the file of the masks of some models, or nothing for a method that draws none."""
        if not self.methods[method].masks():
            return []
        return [self.path(f"masks/{method}/original-{original}/models-{first}-{last}.safetensors")]

    def relearned(self, method: str, original: int | str) -> list[str]:
        """Return the losses of a method's fleet and of the oracle that relearn the forget set, if asked."""
        roles = [self.role(method, original), "oracle"] if self.experiment.relearn else []
        return [self.path(f"relearn/{role}.npz") for role in roles if not role.startswith("original/")]

    def relearned_from(self, original: int | str) -> list[str]:
        """Return the logits of the original model, with whose loss relearning is compared, if it is asked."""
        return self.fleet(f"original/{original}") if self.experiment.relearn else []

    def start(self, role: str) -> list[str]:
        """Return the weights that the models of a fleet start from, or nothing for a retrained one."""
        _, _, number = role.partition("/original-")
        return [self.path(f"original/{number}.safetensors")] if number else []

    def masks_of(self, role: str) -> list[str]:
        """Return the files of the masks of the models of a fleet that relearn, if it draws any."""
        method, _, number = role.partition("/original-")
        if not number or not self.methods[method].masks():
            return []
        models = self.experiment.relearn.models if self.experiment.relearn else 0
        files = -(-models // self.experiment.shards.unlearn)
        return self._shards("masks", role, "safetensors")[:files]

    def own(self, method: str) -> dict[str, Any]:
        """Return what the fleet of a person's own function depends on, besides its files."""
        content = self.experiment.methods[method]
        return {
            "data": self.data,
            **{key: getattr(content, key) for key in ("function", "arguments", "batches")},
        }

    def own_files(self, method: str) -> list[str]:
        """Return the files of a person's own function, those beside it that it imports, and of groups."""
        path, groups = located(str(self.experiment.methods[method].function))[0], self.experiment.data.groups
        return [*map(str, files_of(path)), *([groups] if groups else [])]

    def problem(self) -> str | None:
        """Return why the experiment cannot be run here, or None.

        A damaged file is one: Snakemake would run what reads it, and delete good results before that fails.
        """
        return (
            first_damaged(self.results)
            or self.missing_data()
            or self.unusable_function()
            or self.unknown_layer()
            or self.unusable_oracle()
        )

    def unusable_function(self) -> str | None:
        """Return what is wrong with a person's own function, as far as its files tell."""
        try:
            for method in self.experiment.own():
                own = self.experiment.methods[method]
                check(str(own.function), own.arguments)
                self.own_files(method)
        except InputError as error:
            return str(error)
        return None

    def unknown_layer(self) -> str | None:
        """Return which layer that a method names the network does not have, if there is one."""
        named = [
            (f"methods.{name}", layer)
            for name, method in self.experiment.all_methods().items()
            for step in method.steps()
            for layer in getattr(step.perturb, "layers", None) or []
        ]
        if not named:
            return None
        # PyTorch takes seconds to be imported; only what names layers waits for it.
        tensors = list(NETWORKS[self.experiment.network].empty(2).state_dict())
        for where, layer in named:
            if not any(tensor.startswith(f"{layer}.") for tensor in tensors):
                there = ", ".join(dict.fromkeys(tensor.split(".")[0] for tensor in tensors))
                return f"{where}: layers: {self.experiment.network} has no layer {layer}; it has {there}"
        return None

    def unusable_oracle(self) -> str | None:
        """Return why the retrained fleets that the configuration names cannot be taken, if it names any."""
        experiment, folder = self.experiment, self.experiment.oracle
        if folder is None:
            return None
        where = f"{experiment.experiment}: oracle: {folder}"
        if not Path(folder, "config.yaml").exists() or not Path(self.fleet("oracle")[0]).exists():
            return f"{where}: no retrained fleets there; name a folder of reference/ that has some"
        kept = load(Path(folder, "config.yaml"))
        if key := self.differs_from(Plan(kept)):
            return f"{where}: another `{key}` than here; make it the same, or remove `oracle` to retrain"
        if experiment.models > kept.models:
            return f"{where}: has {kept.models} models; lower `models`, which is {experiment.models}"
        return None

    def differs_from(self, other: Plan) -> str | None:
        """Return the section by which retrained models differ from those of another experiment, if any."""
        for key in ("seed", "data", "training", "network"):
            own, its = (one.data if key == "data" else getattr(one.experiment, key) for one in (self, other))
            if own != its:
                return key
        return None

    @property
    def condensed(self) -> list[str]:
        """The retrained fleets as they are kept, for those who take them as their oracle."""
        made = not self.experiment.oracle and not self.experiment.search
        return [self.path(f"retrained/{role}/models.npz") for role in RETRAINED if made]

    def steps(self, method: str) -> list[dict[str, Any]]:
        """Return the steps of a method; none of a retrained fleet."""
        return to_jsonable_python(self.methods[method].steps()) if method in self.methods else []

    def mask_drawings(self, method: str) -> list[dict[str, Any] | None]:
        """Return, for each step of a method and each cycle of it, how its masks are drawn, if it has any."""
        drawn = [
            step.perturb.drawing() if isinstance(step.perturb, RandomMask) else None
            for step in self.methods[method].steps()
            for _ in range(step.cycles)
        ]
        while drawn and drawn[-1] is None:
            drawn.pop()
        return drawn

    def modules(self, method: str | None = None) -> list[str]:
        """Return the modules that a fleet loads by name: of a method, or of training from scratch."""
        steps = self.steps(method) if method else []
        return catalogue.modules_of(steps or [{"finetune": [to_jsonable_python(self.experiment.training)]}])

    def relearn_modules(self, role: str) -> list[str]:
        """Return the modules that relearning loads by name: those of the fleet, and of relearning itself."""
        relearn = self.experiment.relearn
        again = [{"finetune": [to_jsonable_python(relearn.finetune)]}] if relearn else []
        return sorted({*self.modules(role.partition("/")[0]), *catalogue.modules_of(again)})

    @property
    def data(self) -> dict[str, Any]:
        """What the division of the data depends on: all but the name that the paper gives them."""
        return self.experiment.data.model_dump(mode="json", exclude={"title"})

    def _shards(self, folder: str, role: str, suffix: str) -> list[str]:
        n, size = self.experiment.models, self.experiment.shards
        spans = shards(n, size.retrain if role in RETRAINED else size.unlearn)
        return [self.path(f"{folder}/{role}/models-{a:04d}-{b:04d}.{suffix}") for a, b in spans]

    def role(self, method: str, original: int | str) -> str:
        """Return the fleet that stands for a method (a row of the scores) applied to an original model."""
        others = {"original": f"original/{original}", "retrain": "retrain"}
        return others.get(method, f"{method}/original-{original}")

    @cached_property
    def rows(self) -> list[tuple[str, int]]:
        """The rows of the scores: (method, original model)."""
        numbers = {method: self.experiment.originals_of(method) for method in self.judged_methods}
        return [(m, k) for k in range(self.experiment.originals) for m in numbers if k < numbers[m]]

    def evaluations(self, suffix: str = "json") -> list[str]:
        """Return the evaluation of every row: `json`, its scores, or `npz`, its confidences."""
        return [self.path(f"evaluation/{m}/original-{number}.{suffix}") for m, number in self.rows]

    def compared(self, method: str, other: str) -> list[str]:
        """Return the evaluations of a method, by original model, of those that another one has as well."""
        numbers = range(min(self.experiment.originals_of(of) for of in (method, other)))
        return [self.path(f"evaluation/{method}/original-{number}.npz") for number in numbers]

    @property
    def measures(self) -> list[str]:
        """The other measures of every row but the trials, which are chosen by their scores."""
        trials = self.experiment.trials()
        rows = [(method, k) for method, k in self.rows if method not in trials]
        return [self.path(f"measures/{method}/original-{k}.json") for method, k in rows]

    @property
    def comparisons(self) -> list[str]:
        """The paired differences between methods."""
        return [self.path(f"comparisons/{a}-against-{b}/differences.csv") for a, b in self.experiment.pairs()]

    @property
    def by_n(self) -> list[str]:
        """The scores of smaller fleets, by method."""
        return [self.path(f"by_n/{method}/scores.csv") for method in [*self.experiment.drawn(), "retrain"]]

    @property
    def everything(self) -> list[str]:
        """What is made of an experiment when no file of it is named; the rest comes before these."""
        return [self.path(name) for name in ("scores.csv", "claims.csv", "report.html", "provenance.json")]

    @property
    def chosen(self) -> list[str]:
        """The choice of hyper-parameters, if the experiment has a search."""
        return [self.path("chosen.yaml")] if self.experiment.search else []

    def settings(self, *names: str, **values: Any) -> str:
        """Return what a stage depends on as one JSON string, which Snakemake compares as a whole.

        Within a value, order is the configuration's: that of methods and of what a search varies counts.

        Args:
            names: of keys of the experiment.
            values: what is no key of it, by name.
        """
        return as_settings(values | {name: getattr(self.experiment, name) for name in names})


def as_settings(values: Mapping[str, Any]) -> str:
    """Return the settings of a stage as JSON, by name; sections of a configuration as they are written."""
    return json.dumps(to_jsonable_python({name: values[name] for name in sorted(values)}))
