"""Finds perturbations and losses by the names of their files.

A stage loads those that its method names, and no other: so a new file, or an edit of one, concerns the
methods that use it alone.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from random_mask import methods
from random_mask.methods import losses
from random_mask.training.recipe import Recipe

if TYPE_CHECKING:
    from random_mask.methods.loss import Loss
    from random_mask.methods.perturbation import Perturbation

__all__ = ["all_losses", "all_perturbations", "loss", "modules_of", "perturbation", "recipe_and_loss"]


def all_perturbations() -> list[type[Perturbation]]:
    """Return all perturbations, by the names of their files."""
    return _all(methods)


def all_losses() -> list[type[Loss]]:
    """Return all losses, by the names of their files."""
    return _all(losses)


def perturbation(content: Mapping[str, Any]) -> Perturbation:
    """Return the perturbation that a section of a configuration names, with its settings."""
    return _named(methods, content["name"]).model_validate(content)


def loss(content: Mapping[str, Any]) -> Loss:
    """Return the loss that a section of a configuration names, with its settings."""
    return _named(losses, content["name"]).model_validate(content)


def recipe_and_loss(content: Mapping[str, Any]) -> tuple[Recipe, Loss]:
    """Return what a section of a configuration says of a repair: how it fits, and what it minimises."""
    rest = {key: value for key, value in content.items() if key != "objective"}
    return Recipe.model_validate(rest), loss(content["objective"])


def modules_of(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the modules that steps load, by their dotted names.

    Args:
        steps: as a configuration has them: `perturb`, if there is any, and `finetune`, recipes.
    """
    names: set[str] = set()
    for step in steps:
        if "perturb" in step:
            names.add(f"{methods.__name__}.{step['perturb']['name']}")
        names |= {f"{losses.__name__}.{recipe['objective']['name']}" for recipe in step["finetune"]}
    return sorted(names)


def _all(package: Any) -> list[Any]:
    found = (_defined(package, module.name) for module in pkgutil.iter_modules(package.__path__))
    return [kind for kind in found if kind is not None]


def _named(package: Any, name: str) -> Any:
    kind = _defined(package, name)
    if kind is None:
        raise ValueError(f"{package.__name__} has no {name}")
    return kind


def _defined(package: Any, name: str) -> Any | None:
    """Return the section that a module defines, if it is the file of a perturbation or a loss."""
    module = f"{package.__name__}.{name}"
    for value in vars(import_module(module)).values():
        if getattr(value, "__module__", None) == module and "name" in getattr(value, "model_fields", {}):
            return cast(type, value)
    return None
