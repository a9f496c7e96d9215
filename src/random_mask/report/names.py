"""What methods are called and how they look, the same everywhere in the paper."""

from __future__ import annotations

import seaborn as sns

__all__ = ["OPEN", "colour", "label"]

_LABELS = {
    "original": "Original",
    "finetune": "Fine-tuning",
    "random_mask_ratio_0": "Same repair, no mask",
    "random_mask": "Random mask",
    "random_mask_described": "Random mask (described)",
    "random_mask_tuned": "Random mask (tuned)",
    "unmasked": "No mask",
    "unmasked_tuned": "No mask (tuned)",
    "random_mask_author": "Random mask, author's values",
    "random_mask_reinitialised": "Random mask, re-initialised",
    "random_mask_rescaled": "Random mask, rescaled",
    "random_mask_held": "Random mask, held",
    "random_mask_layers": "Random mask, whole tensors",
    "random_mask_convolutions": "Random mask, convolutions",
    "random_mask_linear": "Random mask, linear layer",
    "random_mask_inner": "Random mask, inner convolutions",
    "random_mask_cycles": "Random mask, two cycles",
    "random_mask_cycles_3": "Random mask, three cycles",
    "random_mask_cycles_4": "Random mask, four cycles",
    "random_mask_longer": "Random mask, four epochs",
    "random_mask_sgd": "Random mask, SGD",
    "random_mask_spread": "Random mask, drawn ratio",
    "random_mask_one_mask": "Random mask, one mask",
    "random_mask_one_order": "Random mask, one order",
    "toshi_k": "toshi_k & marvelworld",
    "amnesiacs": "Algorithmic Amnesiacs",
    "forget_team": "Team forget",
    "neg_grad": "NegGrad",
    "neg_grad_plus": "NegGrad+",
    "random_labels": "Random labels",
    "scrub": "SCRUB",
    "salun": "SalUn",
    "l1_sparse": "L1-sparse",
    "bad_teacher": "Bad teacher",
    "cf_k": "CF-k",
    "eu_k": "EU-k",
    "fisher": "Fisher forgetting",
    "ssd": "SSD",
    "not": "NoT",
    "retrain": "Retrained",
    "oracle": "Retrained",
}
OPEN = {"fanchuan", "kookmin", "seif", "sebastian", "toshi_k", "amnesiacs", "sun", "scrub", "fisher"}
"""Methods whose description leaves something open, or that we simplified; `docs/methods.md` says what."""

_ENTRIES = ("fanchuan", "kookmin", "seif", "sebastian", "toshi_k", "amnesiacs", "sun", "forget_team")
# Colour-blind safe, and of different lightness, so that they differ in grey as well.
_PALETTE = sns.color_palette("colorblind", 10)
_COLOURS = {
    "original": _PALETTE[7],
    "finetune": _PALETTE[1],
    "random_mask_ratio_0": _PALETTE[2],
    "random_mask": _PALETTE[0],
    "random_mask_described": _PALETTE[9],
    "random_mask_tuned": _PALETTE[3],
    "unmasked_tuned": _PALETTE[4],
    "retrain": (0.15, 0.15, 0.15),
    "oracle": (0.15, 0.15, 0.15),
    # Of many methods, kinds are told apart.
    **dict.fromkeys(_ENTRIES, _PALETTE[4]),
    **dict.fromkeys(list(_LABELS)[list(_LABELS).index("neg_grad") : -2], _PALETTE[5]),
}


def label(method: str) -> str:
    """Return the name of a method in figures and tables, with a dagger for those in `OPEN`."""
    if method in _LABELS or method in OPEN:
        return _LABELS.get(method, method.capitalize()) + ("†" if method in OPEN else "")
    if method.endswith("_tuned"):
        return f"{label(method.removesuffix('_tuned'))} (tuned)"
    return method.replace("_", " ").capitalize()


def colour(method: str, methods: list[str]) -> tuple[float, float, float]:
    """Return the colour of a method, with tuned values or not.

    One that has none of its own gets the next by its place in `methods`.
    """
    if method in _COLOURS:
        return _COLOURS[method]
    if method.startswith("random_mask_"):
        return _PALETTE[0]
    others = [name for name in map(_untuned, methods) if name not in _COLOURS]
    free = [c for c in _PALETTE if c not in _COLOURS.values()]
    own = _untuned(method)
    return _COLOURS[own] if own in _COLOURS else free[others.index(own) % len(free)]


def _untuned(method: str) -> str:
    return method if method in _COLOURS else method.removesuffix("_tuned")
