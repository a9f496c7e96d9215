"""The page of an experiment for a browser: its results, and what was forgotten and what was not.

One file that needs neither a server nor the network; its frame, style and script are `page.html`.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from random_mask.experiment.config import Experiment
from random_mask.report import summary
from random_mask.report.labels import Labels
from random_mask.report.originals import NOT_TESTABLE, differences, over_originals, rows_of, verdict
from random_mask.report.study import Positions, positions
from random_mask.report.tables import ENVIRONMENT

__all__ = ["CAPTIONS", "gallery", "page"]

CAPTIONS = {
    "scores": "Score (left) and forgetting quality (right) of each method, with 95 % intervals. Dashed "
    "line and grey band: the ceiling, the score of an independent retrained fleet, with its interval. "
    "Dotted line: the floor, 0.",
    "shift_spread": "How far the mean confidence of forget examples lies from that of retrained models, "
    "in their standard deviations across runs, against the ratio of the spreads across runs.",
    "mask_ratio": "Left: score and forgetting quality against the mask ratio, with 95 % intervals. Right: "
    "the accuracies on the retain, forget and test images. A ratio of 0 is the same repair without a mask.",
    "ablations": "Paired difference of each variant of a method to that method, in score (left) and "
    "forgetting quality (right), with 95 % intervals. Dotted line: no difference.",
    "confidences": "Logit-scaled confidence of six forget examples, at evenly spaced ranks of the "
    "oracle's median confidence, under the models of each fleet; the bars are medians.",
    "epsilons": "How the epsilons of the forget examples fall into the buckets of the metric, by method: "
    "full points on the left, none beyond the dotted line.",
    "by_n": "Score of each method against the number of models per fleet, with 95 % intervals, from random "
    "subsets of the fleets.",
    "agreement": "Spearman's rank correlations between the score and the other measures over the "
    "unlearning methods, each measure turned so that more is better.",
    "training": "Loss and accuracy on the training images by epoch: mean of a fleet's models, with its 95 "
    "% interval.",
}
"""What figures show, by the names of their files."""

MOST_IMAGES, BYTES, EDGE = 500, 4_000_000, 96
"""Forget images at most, bytes that they and their confidences may take, and pixels of a thumbnail's edge."""


def page(
    template: str,
    experiment: Experiment,
    *,
    scores: pd.DataFrame,
    comparisons: pd.DataFrame,
    claims: pd.DataFrame | None,
    costs: pd.DataFrame,
    found: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    pixels: np.ndarray,
    files: Mapping[int, str],
    figures: Mapping[str, bytes],
) -> str:
    """Return the page, as HTML. The same arguments give the same text.

    Args:
        template: the content of `page.html`.
        experiment: the configuration.
        scores: `scores.csv`.
        comparisons: `comparisons.csv`.
        claims: `claims.csv`, if claims were judged.
        costs: `costs.csv`.
        found: the content of `run.json`.
        arrays: `examples.npz`.
        pixels: uint8 [images, 3, height, width] of all splits.
        files: the name of each image in its data set.
        figures: PNG files by name, in their order.
    """
    labels, means = Labels(experiment), over_originals(scores)
    shown = gallery(labels, means["score"], arrays, pixels, files)
    name, forgotten = experiment.data.title or experiment.data.name, len(arrays["oracle/image"])
    pictures = {stem: _figure(stem, content) for stem, content in figures.items()}
    rest = "".join(picture for stem, picture in pictures.items() if stem != "scores")
    sections = {
        "Scores": pictures.get("scores", "")
        + (_folded("Other figures", rest) if rest else "")
        + _scores(
            means,
            positions(arrays, list(means.index)),
            labels,
            scores.groupby("method")["original"].nunique(),
        ),
        "Paired differences": _comparisons(comparisons, labels),
        "Claims": "" if claims is None else _claims(claims),
        "Costs": _costs(costs, labels, found.get("reference", "a reference machine")),
        "Provenance": _provenance(found),
        "Configuration": _folded("As YAML", f'<pre tabindex="0">{html.escape(_yaml(experiment))}</pre>'),
    }
    sections = {title: content for title, content in sections.items() if content}
    links = {_place(title): title for title in sections} | {"images": "Forget images"}
    return Template(template).substitute(
        title=_escaped(f"{experiment.experiment}: unlearning on {name}"),
        summary=_escaped(
            f"{_counted(forgotten, 'image')} of the {experiment.data.train:,} for training to be forgotten; "
            f"{_counted(len(experiment.all_methods()), 'method')}, each with N = {experiment.models} models; "
            f"{_counted(experiment.originals, 'original model')}; seed {experiment.seed}; 95 % intervals."
        ),
        nav="".join(f'<a href="#{place}">{title}</a>' for place, title in links.items()),
        sections="\n".join(
            f'<section id="{_place(title)}">\n<h2>{title}</h2>\n{content}\n</section>'
            for title, content in sections.items()
        ),
        notes="".join(f"<p>{note}</p>" for note in _notes(len(shown["images"]), forgotten, pixels)),
        # In a script nothing but this sign could end it.
        data=json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def gallery(
    labels: Labels,
    scores: pd.Series,
    arrays: Mapping[str, np.ndarray],
    pixels: np.ndarray,
    files: Mapping[int, str],
) -> dict[str, Any]:
    """Return what the page draws of the forget images: all, or as many evenly spaced ones as it has room for.

    Args:
        labels: of the methods.
        scores: the score of each method, by name; the highest, but for the retrained fleet's, is shown first.
        arrays: `examples.npz`.
        pixels: as for `page`.
        files: as for `page`.

    Returns:
        `images`: number, label, file and thumbnail of each; `oracle` and `methods`, with a fleet for each
        original model: epsilons [images] and confidences [images, models], packed; `first`, the place of the
        method that is shown first; `axis`, from where to where the confidences are drawn.
    """
    fleets: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    for key in arrays:
        if key.endswith("/confidences"):
            method, original, _ = key.split("/")
            parts = {part: arrays[f"{method}/{original}/{part}"] for part in ("confidences", "epsilons")}
            fleets.setdefault(method, {})[int(original)] = parts
    every = [fleet["confidences"] for of_method in fleets.values() for fleet in of_method.values()]
    oracle, images = arrays["oracle/oracle_confidences"], arrays["oracle/image"]
    bytes_per_image = 2 * (len(oracle) + sum(len(fleet) + 1 for fleet in every))
    bytes_per_image += 3 * min(EDGE, pixels.shape[2]) * min(EDGE, pixels.shape[3])
    # Base64 writes three bytes as four.
    room = max(1, min(MOST_IMAGES, len(images), 3 * BYTES // 4 // bytes_per_image))
    chosen = np.linspace(0, len(images) - 1, room).round().astype(int)
    ranked = scores.drop(["original", "retrain"], errors="ignore").fillna(-1.0)
    names = list(fleets)
    return {
        "axis": _axis(oracle, every),
        "first": names.index(str(ranked.idxmax())) if len(ranked) else 0,
        "images": [
            {
                "image": int(image),
                "label": int(label),
                "file": files[int(image)],
                "src": _thumbnail(pixels[image]),
            }
            for image, label in zip(images[chosen], arrays["oracle/label"][chosen], strict=True)
        ],
        "oracle": {"models": len(oracle), "confidences": _packed(oracle[:, chosen].T)},
        "methods": [
            {
                "name": name,
                "title": labels(name),
                "fleets": [
                    {
                        "original": original,
                        "models": len(fleet["confidences"]),
                        "epsilons": _packed(fleet["epsilons"][chosen]),
                        "confidences": _packed(fleet["confidences"][:, chosen].T),
                    }
                    for original, fleet in of_method.items()
                ],
            }
            for name, of_method in fleets.items()
        ],
    }


def _axis(oracle: np.ndarray, fleets: Sequence[np.ndarray]) -> tuple[int, int]:
    """Return the range of all confidences, cut where it leaves the oracle's by more than half of that."""
    low, high = float(oracle.min()), float(oracle.max())
    beyond = (high - low) / 2
    below = max(low - beyond, min(float(fleet.min()) for fleet in [oracle, *fleets]))
    above = min(high + beyond, max(float(fleet.max()) for fleet in [oracle, *fleets]))
    return math.floor(below), max(math.ceil(above), math.floor(below) + 1)


def _packed(values: np.ndarray) -> str:
    """Return numbers as 16-bit floats, little endian, in base64; what these lack is cut to their largest."""
    most = float(np.finfo(np.float16).max)
    return base64.b64encode(np.clip(values, -most, most).astype("<f2").tobytes()).decode()


def _thumbnail(pixels: np.ndarray) -> str:
    """Return an image, uint8 [3, height, width], as the address of a PNG; a large one is made smaller."""
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((EDGE, EDGE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return _address(file.getvalue())


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _figure(stem: str, png: bytes) -> str:
    # The size stands at a fixed place; with it, nothing moves when the image is decoded.
    width, height = struct.unpack(">2I", png[16:24])
    name = stem.replace("_", " ")
    caption = CAPTIONS.get(stem, name[:1].upper() + name[1:])
    return (
        f'<figure><img src="{_address(png)}" width="{width}" height="{height}" '
        f'alt="{_escaped(f"Figure: {name}")}"><figcaption>{_escaped(caption)}</figcaption></figure>\n'
    )


class _Cell(NamedTuple):
    """A cell of a table: its text, and the number that it is sorted by where it has one."""

    text: str
    value: float | None = None


def _number(value: float, form: str) -> _Cell:
    return _Cell(
        "\N{EN DASH}" if math.isnan(value) else format(value, form).replace("-", "\N{MINUS SIGN}"), value
    )


def _range(low: float, high: float, form: str) -> str:
    return f"[{_number(low, form).text}, {_number(high, form).text}]"


def _table(
    name: str, head: Sequence[str], rows: Iterable[Sequence[_Cell]], foot: Sequence[_Cell] = ()
) -> str:
    """Return a table whose columns can be sorted; it scrolls sideways where it has no room."""
    columns = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{_escaped(title)}</button></th>'
        for title in head
    )
    body = "\n".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    end = f"<tfoot><tr>{_cells(foot)}</tr></tfoot>" if foot else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_escaped(name)}"><table>\n'
        f"<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody>{end}</table></div>"
    )


def _cells(row: Sequence[_Cell]) -> str:
    first, *others = row
    cells = [f'<th scope="row">{_escaped(first.text)}</th>']
    for text, value in others:
        if value is None:
            cells.append(f'<td class="words">{_escaped(text)}</td>')
        else:
            cells.append(
                f'<td data-value="{"" if math.isnan(value) else f"{value:.6g}"}">{_escaped(text)}</td>'
            )
    return "".join(cells)


def _scores(means: pd.DataFrame, found: Positions, labels: Labels, originals: pd.Series) -> str:
    rows, most = [], originals.max()
    for method, row in means.iterrows():
        of = originals[str(method)]
        interval = _range(row["score_low"], row["score_high"], ".3f")
        position = found[str(method)]
        rows.append(
            [
                _Cell(labels(str(method)) + (f" (on {of} of {most} originals)" if of < most else "")),
                _number(row["score"], ".3f"),
                _Cell(interval, row["score_low"]),
                _number(row["share_of_ceiling"], ".0%"),
                _number(position.shift.estimate, "+z.2f"),
                _number(position.absolute_shift.estimate, ".2f"),
                _number(position.spread.estimate, ".2f"),
                *(_number(row[f"{split}_accuracy"], ".1%") for split in ("retain", "forget", "test")),
                _number(row["cost_share"], ".0%"),
            ]
        )
    head = [
        "Method",
        "Score",
        "95 % interval",
        "Of the ceiling",
        "Shift",
        "|Shift|",
        "Spread",
        "Retain acc.",
        "Forget acc.",
        "Test acc.",
        "Cost",
    ]
    note = (
        "The score is the forgetting quality times what is kept of the retrained models' accuracy; the "
        "ceiling is that of an independent retrained fleet. Shift is how far the mean confidence on forget "
        "images lies above that of retrained models, in their standard deviations, and |shift| the mean of "
        "its absolute value over the images, where errors do not cancel; spread is that of the confidences "
        "across runs, as a multiple of theirs. 0, about 0 and 1 are ideal. Cost is that of unlearning one "
        "model, as a share of retraining it."
    )
    if most > 1:
        note += f" Scores and accuracies are means over {most} original models, or fewer where it says so."
    return f'{_table("Scores", head, rows)}\n<p class="muted">{note}</p>'


def _comparisons(comparisons: pd.DataFrame, labels: Labels) -> str:
    found = differences(comparisons)
    if not found:
        return "<p>The configuration compares no pair of methods: see <code>compare_with</code>.</p>"
    rows = [
        [
            _Cell(labels(a)),
            _Cell(verdict(one.low, one.high)),
            _Cell(labels(b)),
            _number(one.estimate, "+z.3f"),
            _Cell(_range(one.low, one.high, "+z.3f"), one.low),
        ]
        for (a, b), one in found.items()
    ]
    head = ["Method", "Verdict", "Against", "Difference of scores", "95 % interval"]
    note = "On the same oracle and forget examples. Those of the forgetting quality are in comparisons.csv."
    return f'{_table("Paired differences", head, rows)}\n<p class="muted">{note}</p>'


def _claims(claims: pd.DataFrame) -> str:
    judged = claims["verdict"] != NOT_TESTABLE
    if not judged.any():
        return ""
    texts = summary.claims(claims)
    head = [title[:1].upper() + title[1:] for title in texts.columns]
    rows = [[_Cell(str(text)) for text in row] for row in texts[judged].itertuples(index=False)]
    found = _table("Claims", head, rows)
    if not judged.all():
        others = [f"<li>{_escaped(f'{row.claim}: {row.reason}')}</li>" for row in rows_of(claims[~judged])]
        title = f"{_counted(len(others), 'claim')} not testable by this experiment"
        found += "\n" + _folded(title, f"<ul>{''.join(others)}</ul>")
    return found


def _costs(costs: pd.DataFrame, labels: Labels, reference: str) -> str:
    rows = [
        [
            _Cell(summary.RETRAINED.get(row.fleet) or labels(row.fleet)),
            _number(row.models, "d"),
            _number(row.seconds / row.models, ",.1f"),
            _number(row.seconds / 60, ",.1f"),
        ]
        for row in rows_of(costs)
    ]
    total = [
        _Cell("All"),
        _number(costs["models"].sum(), "d"),
        _Cell(""),
        _number(costs["seconds"].sum() / 60, ",.1f"),
    ]
    head = ["Fleet", "Models", "Seconds a model", "Core minutes"]
    note = f"Counted, not timed: the work at the speed of one core of {reference}."
    return f'{_table("Costs", head, rows, total)}\n<p class="muted">{_escaped(note)}</p>'


def _provenance(found: Mapping[str, Any]) -> str:
    environment = dict(found.get("environment", {}))
    names = {key: name for key, name in ENVIRONMENT.items() if key in environment}
    names |= {key: key.replace("_", " ") for key in environment if key not in names}
    pairs = [(name, environment[key]) for key, name in names.items()]
    pairs += [(name.replace("_", " "), f"{value:,}") for name, value in found.get("model", {}).items()]
    rows = "\n".join(
        f'<tr><th scope="row">{_escaped(a)}</th><td class="words">{_escaped(b)}</td></tr>' for a, b in pairs
    )
    note = (
        "Beside each file of the results stands its record, FILE.provenance.json: settings, code and inputs "
        "by their SHA-256, machine, versions, date and time taken; provenance.json has all of them."
    )
    return f'<table><tbody>\n{rows}\n</tbody></table>\n<p class="muted">{note}</p>'


def _notes(shown: int, forgotten: int, pixels: np.ndarray) -> list[str]:
    """Return what has to be said of the gallery."""
    notes = []
    if max(pixels.shape[2:]) > EDGE:
        notes.append(f"The images, {pixels.shape[3]} pixels wide, are reduced to {EDGE}.")
    if shown < forgotten:
        notes.append(
            f"{shown:,} of the {forgotten:,} forget images are here, evenly spaced in the order of the data "
            "set; examples.npz has all."
        )
    return notes


def _yaml(experiment: Experiment) -> str:
    content = experiment.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _place(title: str) -> str:
    return title.lower().replace(" ", "-")


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _escaped(text: object) -> str:
    return html.escape(str(text)).replace(" %", "&nbsp;%")
