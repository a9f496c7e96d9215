"""The HTML report, looked at in a browser as a reader does, and the drawing of the rules in the README."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from random_mask.workflow.paths import FIGURES, PAGES

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("html_report")]

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What a reader does: choose a category, then each file of it, and see what is there.
WALK = """<script>
const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
// What `look` finds, as soon as there is something; after ten seconds, what there is.
const until = async look => {
  for (let times = 0; times < 200 && !look(); times++) await wait(50);
  return look();
};
const walk = async () => {
  const drawings = () => document.querySelectorAll("canvas").length;
  let before = "";
  const workflow = await until(() => document.querySelector(".prose"));
  const seen = {workflow: workflow.textContent, rules: await until(drawings), files: {}};
  for (const category of ["Figures", "Tables", "Paper", "Data"]) {
    app.setView({navbarMode: "menu"});
    await wait(100);
    const items = () => [...document.querySelectorAll("li, a, span")];
    (await until(() => items().findLast(item => item.textContent === category))).click();
    await wait(100);
    await until(() => document.querySelector("tbody tr"));
    for (const row of document.querySelectorAll("tbody tr")) {
      const [view, about] = row.querySelectorAll("a");
      const file = {};
      seen.files[`${category}/${row.textContent}`] = file;
      if (view.download) { file.download = view.download; continue; }
      view.click();
      const shown = await until(() => {
        const place = document.querySelector(".h-screen.grow")?.querySelector("img, iframe");
        return place && place.src !== before && place.naturalWidth !== 0 && place;
      });
      before = shown.src;
      file.kind = shown.tagName;
      file.width = shown.naturalWidth;
      file.source = shown.src;
    }
  }
  app.setView({content: "stats"});
  seen.statistics = await until(() => drawings() > 1 && drawings());
  seen.captions = Object.fromEntries(Object.entries(results).map(([path, {caption}]) => [path, caption]));
  return seen;
};
window.addEventListener("load", async () => {
  const seen = await walk().catch(error => ({failed: `${error.stack}`}));
  await fetch("http://127.0.0.1:PORT", {method: "POST", mode: "no-cors", body: JSON.stringify(seen)});
});
</script>"""


class Listener(HTTPServer):
    """Waits for what the page saw."""

    timeout = 180
    seen: dict | None = None


class Reader(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.seen = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def seen(finished, tmp_path_factory) -> dict:
    """What a browser shows of the report of the finished run."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        # A browser is no dependency of the project: without one, what it would show goes unlooked at.
        pytest.skip("no browser is installed (package chromium)")
    folder = tmp_path_factory.mktemp("report")
    made = finished.snakemake("--report", str(folder / "report.html"))
    assert made.returncode == 0, made.stdout
    text = (folder / "report.html").read_text()
    head, _, tail = text.rpartition("</body>")
    with Listener(("127.0.0.1", 0), Reader) as server:
        walk = WALK.replace("PORT", str(server.server_port))
        (folder / "walked.html").write_text(f"{head}{walk}</body>{tail}")
        # A browser now and then hangs where no screen is: it is started again.
        for attempt in range(3):
            # Root, as which containers run, has no sandbox; the profile is of this start alone.
            command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            command += [f"--user-data-dir={folder / f'profile{attempt}'}", (folder / "walked.html").as_uri()]
            with (folder / f"browser{attempt}.log").open("w") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                server.handle_request()
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if server.seen is not None:
                assert "failed" not in server.seen, server.seen["failed"]
                return server.seen
    pytest.fail((folder / "browser0.log").read_text()[-3000:])


def test_every_figure_is_a_picture(seen):
    pictures = {name: file for name, file in seen["files"].items() if name.startswith("Figures/")}
    assert pictures.keys() == {f"Figures/{name.replace('_', ' ')}" for name in FIGURES}
    assert all(file["kind"] == "IMG" and file["width"] > 500 for file in pictures.values())
    assert len({file["source"] for file in pictures.values()}) == len(FIGURES)


def test_every_table_and_the_paper_open_and_the_data_are_there_to_keep(seen):
    files = seen["files"]
    pages = {name: file for name, file in files.items() if name.startswith("Tables/")}
    assert pages.keys() == {f"Tables/{name}" for name in PAGES}
    assert all(file["source"].startswith("data:text/html") for file in pages.values())
    assert files["Paper/paper.pdf"]["source"].startswith("data:application/pdf")
    for name in ("scores.csv", "comparisons.csv"):
        assert files[f"Data/{name}"]["download"] == name


def test_everything_has_a_caption_and_the_workflow_a_description_and_drawings(seen):
    assert all(len(caption) > 40 for caption in seen["captions"].values())
    assert "Experiment smoke, 4 models a fleet" in seen["workflow"]
    assert (seen["rules"], seen["statistics"]) == (1, 2)


def test_figures_for_the_browser_are_the_same_bytes_again(copy_of_finished, finished):
    names = [f"figures/{name}.png" for name in FIGURES] + [f"tables/{name}.html" for name in PAGES]
    for name in [*names, "provenance.json"]:
        copy_of_finished.result(name).unlink()
    assert copy_of_finished.snakemake().returncode == 0
    for name in names:
        assert copy_of_finished.result(name).read_bytes() == finished.result(name).read_bytes(), name


def test_a_run_prints_little_and_its_scores_at_the_end(finished):
    printed = finished.printed
    (steps,) = re.findall(r"(\d+) of \d+ steps \(100%\) done, (?:\d+) of \d+ models trained$", printed, re.M)
    lines = printed.splitlines()
    timed = [line for line in lines if re.match(r"\d\d:\d\d:\d\d  ", line)]
    jobs = [line for line in timed if " steps (" not in line]
    assert len(jobs) <= int(steps)
    # Beside jobs and progress: how the run starts, the table of rules, the scores and verdicts.
    rules = [line for line in lines if re.match(r"[a-z_]+ +\d+$", line)]
    assert len(lines) - len(timed) - len(rules) < 35
    assert sum("Unlearning models" in line for line in lines) == 4
    for word in ("Host:", "Reason:", "Finished jobid", "Select jobs"):
        assert word not in printed
    table = printed.partition("\nmethod ")[2]
    assert re.search(r"^random_mask +0\.\d{3}  \[0\.\d{3}, 0\.\d{3}\]  \d+%", table, re.M)
    assert "\nresults/smoke/paper.pdf\n" in table


def test_a_dry_run_and_a_part_of_a_run_print_no_scores(copy_of_finished):
    assert "of the ceiling" not in copy_of_finished.snakemake("--dry-run", "--forceall").stdout
    copy_of_finished.result("tables/config.tex").unlink()
    part = copy_of_finished.snakemake("results/smoke/tables/config.tex")
    assert "(100%) done" in part.stdout
    assert "of the ceiling" not in part.stdout


def test_the_drawing_in_the_readme_is_that_of_the_rules(fresh):
    drawing = load_script()
    rulegraph = fresh.snakemake("--rulegraph", "mermaid-js", config="config/digits.yaml").stdout
    readme = (ROOT / "README.md").read_text()
    assert "prepare_data" in drawing.as_drawing(rulegraph)
    assert drawing.replaced(readme, rulegraph) == readme, "the rules have changed; type: make drawing"


def test_arrows_that_follow_from_others_are_left_out():
    graph = "flowchart TB\n\tid0[all]\n\tid1[b]\n\tid2[a]\n\tid3[c]\n"
    graph += "\tid2 --> id1\n\tid1 --> id3\n\tid2 --> id3\n\tid3 --> id0\n\tid2 --> id0\n"
    assert load_script().as_drawing(graph) == "flowchart LR\n    a --> b\n    b --> c\n"


def load_script():
    spec = importlib.util.spec_from_file_location("drawing", ROOT / "workflow" / "scripts" / "drawing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
