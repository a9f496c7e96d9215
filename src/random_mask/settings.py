"""What every section of a configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Number", "Ratio", "Section"]


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


# YAML reads 1e-3 as a string; a number in any notation is welcome.
Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]
Ratio = Annotated[Number, Field(ge=0, le=1)]
