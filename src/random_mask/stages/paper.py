"""Sets the paper."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from random_mask.artifacts.files import atomic_write, write_text
from random_mask.errors import InputError
from random_mask.stages.command import Input, Output, Source, progress, run

INSTALL = (
    "sudo apt-get install --no-install-recommends latexmk texlive-latex-base texlive-latex-recommended "
    "texlive-latex-extra texlive-pictures texlive-fonts-recommended texlive-science lmodern"
)
LATEXMK = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", "main.tex"]
# Everything that would change the bytes of the PDF from one run to the next.
FIXED = {"SOURCE_DATE_EPOCH": "1700000000", "FORCE_SOURCE_DATE": "1", "TZ": "UTC", "LC_ALL": "C"}
# Lines of the log are not to be broken.
FIXED |= {"max_print_line": "1000"}
DEVIATION = re.compile(r"^NOT SO HERE: (.*)$", re.M)
DEFECTS = re.compile(
    r"^(Overfull \\[hv]box.*|.*Warning:.*(?:undefined|multiply defined|not found|too large).*"
    r"|Package .* Error.*)$",
    re.M,
)


def main(
    *,
    sources: list[Source],
    figures: list[Input],
    tables: list[Input],
    numbers: Input,
    output: Output,
    deviations: Output,
) -> None:
    """Build the PDF in a folder of its own, and write which sentences the runs here do not confirm.

    Undefined references, unknown keys, lines that run into the margin, and sentences that the authors'
    results do not confirm are errors.
    """
    if shutil.which("latexmk") is None or shutil.which("pdflatex") is None:
        raise InputError(
            f"no LaTeX here; everything but {output} has been made. Type\n  {INSTALL}\nand run this again"
        )
    root = next(path.parent for path in sources if path.name == "main.tex")
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        places = {path: path.relative_to(root) for path in sources} | {numbers: Path("numbers.tex")}
        places |= {path: Path(path.parent.name, path.name) for path in (*figures, *tables)}
        for path, place in places.items():
            (build / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, build / place)
        result = subprocess.run(
            LATEXMK,
            cwd=build,
            env={**os.environ, **FIXED},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        if result.returncode:
            raise InputError(_first_error(result.stdout, root))
        log = (build / "main.log").read_text(encoding="utf-8", errors="replace")
        defects = sorted(set(DEFECTS.findall(log)))
        if defects:
            raise InputError("the paper has defects:\n  " + "\n  ".join(defects[:10]))
        with atomic_write(output) as temporary:
            shutil.copyfile(build / "main.pdf", temporary)
    marked = list(dict.fromkeys(DEVIATION.findall(log)))
    write_text(deviations, "".join(f"marked in the margin of {output}: {line}\n" for line in marked))
    for line in marked:
        progress(line)
    progress(str(output))


def _first_error(log: str, root: Path) -> str:
    lines = log.splitlines()
    at = next((n for n, line in enumerate(lines) if re.match(r"(\./|/|\w).*:\d+: |! ", line)), 0)
    found = "\n  ".join(lines[at : at + 6])
    hint = f"\nA file of LaTeX is missing; type\n  {INSTALL}" if "not found" in found else ""
    return f"LaTeX stopped in {root}:\n  {found}{hint}"


if __name__ == "__main__":
    run(main)
