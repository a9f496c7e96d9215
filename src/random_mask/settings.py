"""What every section of a configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Number", "PaperText", "Ratio", "Section"]


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


# YAML reads 1e-3 as a string; a number in any notation is welcome.
Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]
Ratio = Annotated[Number, Field(ge=0, le=1)]

ALPHABETS = ("cp1250", "cp1252", "cp1254", "cp1257", "iso8859-16")
"""Latin alphabets, whose letters and signs the fonts of the paper have."""


def _typeset(text: str) -> str:
    for character in text:
        if not character.isprintable() or not any(character.encode(name, "ignore") for name in ALPHABETS):
            raise ValueError(
                f"the fonts of the paper have no {character!r} (in {text!r}); write it in Latin letters"
            )
    return text


PaperText = Annotated[str, AfterValidator(_typeset)]
"""Text that the paper sets."""
