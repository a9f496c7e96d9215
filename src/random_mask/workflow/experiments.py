"""The experiments that one run of the workflow may make, and those that the paper reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from random_mask.errors import InputError, named
from random_mask.experiment.config import Experiment, load, read, validate
from random_mask.report.names import RESULTS
from random_mask.settings import Section
from random_mask.workflow.paths import Plan

__all__ = ["Library", "Paper", "Reported", "read_reported"]

TAKEN = ("download", "paper", "slurm-logs", "try")
"""Folders of `results/` that are no experiments."""
REFERENCE = Path("reference")
"""The authors' own results, a folder for each experiment: small, and in git."""
REPORTED = Path("config/paper.yaml")
SWITCH = "run"
"""The key of `--config` that says which experiments of the paper are made here."""


class Library:
    """The experiments of one run of the workflow, by name, each read when it is first asked for.

    An experiment is that of `config/<name>.yaml`, but for the one of `--configfile`.
    """

    def __init__(
        self,
        files: Sequence[Path | str] = (),
        config: Mapping[str, Any] | None = None,
        check: Callable[[Plan], None] = lambda plan: None,
    ):
        """Take what Snakemake was given.

        Args:
            files: of `--configfile`.
            config: their content, with what `--config` put in its place.
            check: is called with the plan of every experiment that is asked for.

        Raises:
            InputError: in one line, if that is no experiment.
        """
        content: Any = config or {}
        if isinstance(content, Mapping):  # else `validate` says that it is none
            content = {key: value for key, value in content.items() if key != SWITCH}
        if content and not files:
            key = next(iter(content))
            raise InputError(
                f"--config {key}: of which experiment? Only `{SWITCH}` is of all; name one by --configfile"
            )
        if len(files) > 1:
            raise InputError(
                f"--configfile {' '.join(map(str, files))}: is for one experiment; give one file"
            )
        for file in files:
            read(file)  # Snakemake would not say that a key stands twice.
        self._check, self._plans = check, dict[str, Plan]()
        self.given: Plan | None = None
        if files:
            source = ", ".join(map(str, files))
            self.given = self._add(validate(content, source=source), source)

    def plan(self, name: str) -> Plan:
        """Return the files of an experiment.

        Raises:
            InputError: in one line, if it has no configuration, or a wrong one.
        """
        if name not in self._plans:
            path = Path("config", f"{name}.yaml")
            if not path.exists():
                known = sorted(file.stem for file in path.parent.glob("*.yaml") if file != REPORTED)
                raise InputError(f"{path}: no such file; the experiments here are {', '.join(known)}")
            experiment = load(path)
            if experiment.experiment != name:
                raise InputError(
                    f"{path}: experiment: {experiment.experiment}, which is not the name of the file; call "
                    "both the same, or give the file by --configfile"
                )
            self._add(experiment, str(path))
        return self._plans[name]

    def _add(self, experiment: Experiment, source: str) -> Plan:
        name = experiment.experiment
        if name in TAKEN:
            raise InputError(f"{source}: experiment: results/{name} is taken; choose another name")
        self._plans[name] = Plan(experiment)
        self._check(self._plans[name])
        return self._plans[name]


class Reported(Section):
    """Where the paper takes the numbers of an experiment from."""

    source: Annotated[Literal["run", "reference"], Field(alias="from")]
    """`run`: made here, `reference`: the authors' kept results."""
    minutes: Annotated[int, Field(ge=1)]
    """About how long a run takes on two cores."""


class _File(Section):
    experiments: dict[str, Reported]


def read_reported(path: Path = REPORTED) -> dict[str, Reported]:
    """Return the experiments that the paper reports, in its order.

    Raises:
        InputError: in one line, if that file is wrong.
    """
    try:
        return _File.model_validate(read(path)).experiments
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class Paper:
    """The experiments of the paper, and where the numbers of each are: made here, or kept by the authors.

    Attributes:
        run: the names of those that are made here, in the order of the paper.
    """

    def __init__(self, reported: Mapping[str, Reported], switch: Any = None):
        """Take the list, and what `--config run=...` says: `all`, `none`, or names with commas between them.

        Raises:
            InputError: in one line, if it names an experiment that the paper does not report.
        """
        names = list(reported)
        if switch is None:
            self.run = [name for name in names if reported[name].source == "run"]
        else:
            asked = (
                switch
                if isinstance(switch, list)
                else [name for name in re.split(r"[,\s]+", str(switch)) if name]
            )
            chosen = {"all": names, "none": []}.get(str(switch), asked)
            unknown = [name for name in chosen if name not in names]
            if unknown:
                raise InputError(
                    f"--config {SWITCH}={switch}: the paper does not report {named(unknown)}; choose `all`, "
                    f"`none`, or of {', '.join(names)} ({REPORTED})"
                )
            self.run = [name for name in names if name in chosen]
        self.names = names

    def check(self) -> None:
        """Check that what the authors kept is there.

        Raises:
            InputError: in one line, if it is not.
        """
        for name in self.names:
            if name not in self.run and not (REFERENCE / name / "config.yaml").exists():
                raise InputError(
                    f"{REFERENCE / name}: not there, but {REPORTED} takes its numbers from it; run it here: "
                    f"--config {SWITCH}={','.join([*self.run, name])}"
                )

    def folder(self, name: str) -> str:
        """Return where the numbers of an experiment are."""
        return f"results/{name}" if name in self.run else str(REFERENCE / name)

    @property
    def results(self) -> list[str]:
        """The files with the numbers of all experiments."""
        return [f"{self.folder(name)}/{file}" for name in self.names for file in RESULTS]

    def made_here(self, library: Library) -> list[str]:
        """Return all files of the experiments that are made here."""
        return [path for name in self.run for path in library.plan(name).everything]

    def experiments(self, library: Library) -> dict[str, Experiment]:
        """Return the configurations of all experiments, as they were run, by name."""
        kept = {name: REFERENCE / name / "config.yaml" for name in self.names if name not in self.run}
        return {
            name: load(kept[name]) if name in kept else library.plan(name).experiment for name in self.names
        }

    def settings(self, library: Library) -> str:
        """Return what the stages of the paper depend on, as JSON.

        All experiments are one argument of a command, which Linux limits to 128 KiB: so it is brief.
        """
        content = {
            name: one.model_dump(mode="json", exclude_none=True)
            for name, one in self.experiments(library).items()
        }
        return json.dumps({"experiments": content, "run": self.run}, separators=(",", ":"))

    def chosen(self, library: Library) -> list[str]:
        """Return the files of the searches that the experiments take methods from."""
        found = (one.tuned.file for one in self.experiments(library).values() if one.tuned)
        return list(dict.fromkeys(found))

    @property
    def authors(self) -> list[str]:
        """The scores that the authors kept of the experiments made here, to compare with."""
        paths = [REFERENCE / name / "scores.csv" for name in self.run]
        return [str(path) for path in paths if path.exists()]
