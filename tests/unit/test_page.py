import base64
import io
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from random_mask.artifacts.files import write_npz
from random_mask.artifacts.records import write_records
from random_mask.data.splits import split_as_csv
from random_mask.experiment.config import validate
from random_mask.metrics.competition import epsilons
from random_mask.report.claims import NOT_SUPPORTED, NOT_TESTABLE
from random_mask.report.page import page

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "src" / "random_mask" / "report" / "page.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DASH = "\N{EN DASH}"
RECIPE = {"epochs": 1, "batch": 50, "optimizer": "sgd", "learning_rate": 0.1}


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def results(titles=("First", "Second"), *, models=5, images=8, originals=1, size=32, change=None) -> dict:
    """The arguments of `page` after the template, of an experiment whose methods are m0, m1, ..."""
    methods = {
        f"m{place}": {"title": title, "finetune": RECIPE, "compare_with": ["retrain"]}
        for place, title in enumerate(titles)
    }
    content = {
        **{"experiment": "mine", "seed": 1, "models": models, "originals": originals, "training": RECIPE},
        "data": {
            **{"name": "digits", "train": max(100, 2 * images), "validation": 5, "test": 5},
            "forget": {"size": images},
        },
        "methods": methods,
    }
    if change:
        change(content)
    experiment, rng = validate(content), np.random.default_rng(0)
    oracle = rng.normal(3, 2, (models, images))
    # The images stand anywhere among those of all splits.
    places = np.arange(images) * 2 + 1
    arrays = {"oracle/image": places, "oracle/label": places % 10, "oracle/oracle_confidences": oracle}
    rows = []
    for original in range(originals):
        for method in ["original", *methods, *(["retrain"] if original == 0 else [])]:
            confidences = rng.normal(5, 2, (models, images))
            arrays[f"{method}/{original}/confidences"] = confidences
            arrays[f"{method}/{original}/epsilons"] = epsilons(confidences, oracle)
            row = {"method": method, "original": original, "n_models": models, "seconds_per_model": 2.0}
            row |= {f"{split}_accuracy": 0.75 for split in ("retain", "forget", "test")}
            for name in ("score", "forgetting_quality"):
                row |= {name: 0.1 + original, f"{name}_low": 0.05, f"{name}_high": 2.0}
            rows.append(row)
    compared = {"original": 0, "quantity": "score", "difference": -0.1, "low": -0.2, "high": -0.05}
    return {
        "experiment": experiment,
        "scores": pd.DataFrame(rows),
        "comparisons": pd.DataFrame([{"a": method, "b": "retrain"} | compared for method in methods]),
        "claims": None,
        "costs": pd.DataFrame({"fleet": ["oracle", "m0"], "models": [5, 5], "seconds": [50.0, 10.0]}),
        "found": {"environment": {"processor": "A <B>", "commit": "abc"}, "model": {"weights": 1000}},
        "arrays": arrays,
        "pixels": rng.integers(0, 256, (2 * images + 1, 3, size, size), dtype=np.uint8),
        "files": {image: f"train/cat/{image}.png" for image in range(2 * images + 1)},
        "figures": {"scores": png(30, 20), "own_figure": png(3, 2)},
    }


def made(**arguments) -> str:
    return page(TEMPLATE.read_text(), **arguments)


class Parsed(HTMLParser):
    """What a page consists of; elements that are not closed in order fail."""

    VOID = ("meta", "img", "path")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.texts, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, text):
        inside = self.open[-1] if self.open else ""
        self.texts.append((inside, text))
        if "table" in self.open and inside in ("td", "th", "button"):
            self.rows[-1][-1] += text

    def having(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self, inside: str) -> str:
        return " ".join(text for tag, text in self.texts if tag == inside)


def data_of(text: str) -> dict:
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def unpacked(text: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f2").reshape(shape)


def test_it_holds_every_method_in_tables_that_can_be_sorted_and_in_the_gallery():
    text = made(**results())
    parsed = Parsed(text)
    first = [row[0] for row in parsed.rows]
    for name in ("Original", "First", "Second", "Retrained", "Retrained (oracle)"):
        assert name in first
    assert ["First", "scores lower than", "Retrained"] in [row[:3] for row in parsed.rows]
    heads = [attributes for attributes in parsed.having("th") if attributes.get("scope") == "col"]
    assert len(heads) == len(parsed.having("button")) > 10
    assert {head["aria-sort"] for head in heads} == {"none"}
    titles = [method["title"] for method in data_of(text)["methods"]]
    assert titles == ["Original", "First", "Second", "Retrained"]


def test_it_needs_nothing_but_itself():
    parsed = Parsed(made(**results()))
    addresses = [
        value for _, of in parsed.tags for name, value in of.items() if name in ("src", "href", "srcset")
    ]
    assert addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert not any(tag in ("link", "iframe", "object") for tag, _ in parsed.tags)
    assert "url(" not in TEMPLATE.read_text()
    assert "default-src 'none'" in parsed.having("meta")[2]["content"]
    places = {of["id"] for _, of in parsed.tags if "id" in of}
    assert {of["href"].removeprefix("#") for of in parsed.having("a")} <= places


def test_figures_stand_with_their_size_and_caption():
    parsed = Parsed(made(**results()))
    sizes = [(of["width"], of["height"]) for of in parsed.having("img")]
    assert sizes[:2] == [("30", "20"), ("3", "2")]
    assert "the ceiling" in parsed.said("figcaption")
    assert "Own figure" in parsed.said("figcaption")


def test_texts_are_escaped():
    evil = "<script>alert(1)</script> & Ähnliches"

    def renamed(content):
        content["data"]["title"] = evil
        content["methods"]["m0"]["deviation"] = "</pre><script>"

    arguments = results(titles=(evil, "Second"), change=renamed)
    arguments["files"][1] = "</script><b>"
    text = made(**arguments)
    parsed = Parsed(text)
    assert len(parsed.having("script")) == 2
    assert evil in parsed.said("h1")
    assert evil + "†" in [row[0] for row in parsed.rows]
    found = data_of(text)
    assert (found["methods"][1]["title"], found["images"][0]["file"]) == (evil + "†", "</script><b>")


def test_the_gallery_holds_the_arrays_rounded_to_16_bits():
    arguments = results(originals=2)
    arguments["arrays"]["m0/1/confidences"][0, 0] = 1e9
    found, arrays = data_of(made(**arguments)), arguments["arrays"]
    assert [image["image"] for image in found["images"]] == list(arrays["oracle/image"])
    assert [image["label"] for image in found["images"]] == list(arrays["oracle/label"])
    assert found["images"][2]["file"] == "train/cat/5.png"
    thumbnail = base64.b64decode(found["images"][2]["src"].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(thumbnail))).transpose(2, 0, 1)
    np.testing.assert_array_equal(shown, arguments["pixels"][5])
    oracle = unpacked(found["oracle"]["confidences"], 8, 5)
    np.testing.assert_array_equal(oracle, arrays["oracle/oracle_confidences"].T.astype(np.float16))
    originals = {"original": 2, "m0": 2, "m1": 2, "retrain": 1}
    assert {method["name"]: len(method["fleets"]) for method in found["methods"]} == originals
    for method in found["methods"]:
        for fleet in method["fleets"]:
            of = f"{method['name']}/{fleet['original']}"
            kept = np.minimum(arrays[f"{of}/confidences"], 65504).T.astype(np.float16)
            np.testing.assert_array_equal(unpacked(fleet["confidences"], 8, fleet["models"]), kept)
            kept = arrays[f"{of}/epsilons"].astype(np.float16)
            np.testing.assert_array_equal(unpacked(fleet["epsilons"], 8), kept)


def test_the_axis_holds_the_oracle_and_no_outlier_stretches_it():
    arguments = results()
    oracle = arguments["arrays"]["oracle/oracle_confidences"]
    arguments["arrays"]["m0/0/confidences"] = np.full((5, 8), -1e6)
    low, high = data_of(made(**arguments))["axis"]
    assert low <= oracle.min() < oracle.max() <= high
    assert high - low <= 2 * np.ptp(oracle) + 2


def test_the_method_with_the_highest_score_is_shown_first():
    arguments = results()
    scores = arguments["scores"].set_index("method")
    scores.loc["m1", "score"] = 0.2
    scores.loc["m0", "score"] = np.nan
    scores.loc["retrain", "score"] = 0.9
    found = data_of(made(**arguments | {"scores": scores.reset_index()}))
    assert found["methods"][found["first"]]["name"] == "m1"


def test_the_same_arguments_give_the_same_text():
    assert made(**results()) == made(**results())


def test_the_configuration_on_it_is_the_experiment():
    arguments = results(titles=("Größe <1>", "Second"))
    parsed = Parsed(made(**arguments))
    assert validate(yaml.safe_load(parsed.said("pre"))) == arguments["experiment"]


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("models", [2, 3])
def test_a_single_method_of_few_models_and_images_of_one_class(images, models):
    arguments = results(titles=("Mine",), images=images, models=models)
    arguments["arrays"]["oracle/label"][:] = 7
    arguments["comparisons"] = arguments["comparisons"].iloc[:0]
    text = made(**arguments)
    assert len(data_of(text)["images"]) == images
    assert "compares no pair" in Parsed(text).said("p")


def test_missing_numbers_are_dashes_that_sort_last():
    arguments = results()
    scores = arguments["scores"]
    scores.loc[scores["method"] == "m0", "score":] = np.nan
    scores.loc[scores["method"] == "m0", "seconds_per_model"] = np.nan
    text = made(**arguments)
    (row,) = [row for row in Parsed(text).rows if row[0] == "First" and len(row) == 11]
    assert (row[1], row[2], row[3], row[10]) == (DASH, f"[{DASH}, {DASH}]", DASH, DASH)
    assert 'data-value=""' in text
    assert 'data-value="nan"' not in text


def test_a_ceiling_of_0_has_no_shares():
    arguments = results()
    arguments["scores"]["score"] = 0.0
    (row,) = [row for row in Parsed(made(**arguments)).rows if row[0] == "Retrained" and len(row) == 11]
    assert row[1:4] == ["0.000", "[0.050, 2.000]", DASH]


def test_originals_are_pooled():
    parsed = Parsed(made(**results(originals=2)))
    (row,) = [row for row in parsed.rows if row[0] == "First" and len(row) == 11]
    assert row[1] == "0.600"
    assert "means over 2 original models" in parsed.said("p")


def test_a_method_that_was_tried_on_fewer_originals_says_so():
    arguments = results(originals=2)
    scores = arguments["scores"]
    arguments["scores"] = scores[(scores["method"] != "m0") | (scores["original"] == 0)]
    rows = [row[0] for row in Parsed(made(**arguments)).rows if len(row) == 11]
    assert "First (on 1 of 2 originals)" in rows
    assert "Second" in rows


def a_claim() -> dict:
    row = {"id": "a", "verdict": NOT_SUPPORTED, "opposite": True, "estimate": -1.0, "low": -2.0, "high": -0.5}
    return row | {"claim": "it <helps>", "criterion": "above 0", "exploratory": False, "reason": np.nan}


def test_claims_are_there_if_one_is_judged():
    row = a_claim()
    other = row | {"verdict": NOT_TESTABLE, "opposite": False, "claim": "more", "reason": "needs 16 models"}
    arguments = results()
    parsed = Parsed(made(**arguments | {"claims": pd.DataFrame([row, other])}))
    assert ["the opposite is supported", "it <helps>", "-1.000 [-2.000, -0.500]"] in parsed.rows
    assert "more: needs 16 models" in parsed.said("li")
    for none in (pd.DataFrame([other]), None):
        assert "Claims" not in Parsed(made(**arguments | {"claims": none})).said("h2")


def test_what_has_no_room_is_named():
    few = made(**results(images=250, models=64, titles=[f"Method {place}" for place in range(20)]))
    assert len(few) < 5e6
    assert len(data_of(few)["images"]) == 250
    assert "evenly spaced" not in Parsed(few).said("p")
    many = made(**results(images=700, models=64, originals=2, titles=[f"Method {n}" for n in range(20)]))
    shown = len(data_of(many)["images"])
    assert len(many) < 5e6
    assert f"{shown:,} of the 700 forget images are here, evenly spaced" in Parsed(many).said("p")
    assert data_of(many)["images"][-1]["image"] == 1399
    large = made(**results(images=2, size=128))
    assert "128 pixels wide, are reduced to 96" in Parsed(large).said("p")


def stage(folder: Path, *, figure: str = "own_figure.png") -> subprocess.CompletedProcess:
    arguments = results()
    experiment = json.loads(arguments["experiment"].model_dump_json())
    options = ["--settings", json.dumps(experiment), "--template", str(TEMPLATE)]
    for name in ("scores", "comparisons", "costs"):
        arguments[name].to_csv(folder / f"{name}.csv", index=False)
    pd.DataFrame([a_claim()]).to_csv(folder / "claims.csv", index=False)
    (folder / "run.json").write_text(json.dumps(arguments["found"]))
    write_npz(folder / "examples.npz", arguments["arrays"])
    write_npz(folder / "images.npz", {"pixels": arguments["pixels"]})
    files = list(arguments["files"].values())
    numbers = {"forget": arguments["arrays"]["oracle/image"], "retain": np.arange(0, 17, 2)}
    (folder / "split.csv").write_text(split_as_csv(numbers, np.zeros(17, dtype=int), files))
    (folder / figure).write_bytes(png(3, 2))
    given = {"scores": "scores.csv", "comparisons": "comparisons.csv", "costs": "costs.csv"}
    given |= {"claims": "claims.csv", "run-file": "run.json", "examples": "examples.npz", "figures": figure}
    given |= {"images": "images.npz", "split-table": "split.csv"}
    for option, name in given.items():
        write_records([folder / name], {"inputs": {}})
        options += [f"--{option}", name]
    program = [sys.executable, "-m", "random_mask.stages.page", *options, "--output", "report.html"]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True)


def test_the_stage_writes_it(tmp_path):
    process = stage(tmp_path)
    assert process.returncode == 0, process.stderr
    text = (tmp_path / "report.html").read_text()
    arguments = results() | {"claims": pd.DataFrame([a_claim()])}
    del arguments["figures"]["scores"]
    assert text == made(**arguments)


def test_the_stage_says_what_is_no_picture_for_a_browser(tmp_path):
    process = stage(tmp_path, figure="scores.pdf")
    assert process.returncode == 1
    assert (
        process.stderr == "page: scores.pdf: a page for browsers shows PNG files; name that of the figure\n"
    )
    assert not (tmp_path / "report.html").exists()


LOOK = """<script>{
const set = (id, value) => { find(id).value = value; find(id).dispatchEvent(new Event("change")); };
const look = () => {
  const seen = {widths: innerWidth - document.documentElement.scrollWidth};
  seen.orders = [];
  for (const method of data.methods.keys()) {
    set("method", method);
    for (const order of ["-1", "1"]) {
      set("order", order);
      seen.orders.push([...find("cards").children].map(card => cards.indexOf(card)));
    }
  }
  set("method", 1);
  set("original", 1);
  seen.rows = fleet.rows.map(row => [...row]);
  seen.said = find("said").value;
  cards.forEach(draw);
  seen.paths = cards.map(card => card.querySelector(".method.dots").getAttribute("d"));
  const head = document.querySelector("#scores thead th:nth-child(2)");
  const rows = head.closest("table").tBodies[0].rows;
  const scores = () => Array.from(rows, row => row.cells[1].textContent);
  seen.sorted = [1, 2].map(() => { head.firstChild.click(); return [head.ariaSort, scores()]; });
  return seen;
};
let seen;
try { seen = look(); } catch (error) { seen = {failed: error.stack}; }
document.body.append(document.createElement("samp"));
document.body.lastChild.textContent = JSON.stringify(seen);
}</script>"""


def test_in_a_browser_it_shows_what_one_picks_and_sorts(tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        # A browser of 300 MB is no dependency of a user's `make test`. What the page holds is tested above
        # without one; only what its script does when one picks and sorts goes unlooked at.
        pytest.skip("no browser is installed (package chromium)")
    arguments = results(originals=2)
    scores = arguments["scores"]
    scores.loc[scores["method"] == "m0", "score"] = np.nan
    scores.loc[scores["method"] == "m1", "score"] = 0.3
    text = made(**arguments)
    head, _, tail = text.rpartition("</body>")
    (tmp_path / "page.html").write_text(f"{head}{LOOK}</body>{tail}")
    # Root, as which containers run, has no sandbox; the profile is of this start alone.
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--dump-dom", f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    seen = json.loads(Parsed(process.stdout).said("samp"))
    assert "failed" not in seen, seen["failed"]
    assert seen["widths"] >= 0
    arrays = arguments["arrays"]
    for place, method in enumerate(["original", "m0", "m1", "retrain"]):
        found = arrays[f"{method}/0/epsilons"].astype(np.float16)
        down, up = seen["orders"][2 * place], seen["orders"][2 * place + 1]
        assert list(found[down]) == sorted(found, reverse=True)
        assert list(found[up]) == sorted(found)
        assert sorted(down) == sorted(up) == list(range(8))
    np.testing.assert_array_equal(seen["rows"], arrays["m0/1/confidences"].T.astype(np.float16))
    assert seen["said"].startswith("5 models, 8 images: ε ")
    assert all(path.count("M") == 5 and "NaN" not in path for path in seen["paths"])
    assert seen["sorted"] == [
        ["descending", ["0.600", "0.300", "0.100", DASH]],
        ["ascending", ["0.100", "0.300", "0.600", DASH]],
    ]
