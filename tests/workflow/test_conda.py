"""`--sdm conda`: rules run the Python of the environment that conda made. A stand-in plays conda."""

import os
import sys

import pytest

CONDA = f"""#!/bin/sh
case "$*" in
  "info --json") echo '{{"conda_prefix": "BASE", "platform": "linux-64"}}' ;;
  "--version") echo "conda 25.1.0" ;;
  "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create "*)
    for last; do :; done  # the prefix
    mkdir -p "$last/bin"
    printf '#!/bin/sh\\necho ran >> "%s/ran"\\nexec {sys.executable} "$@"\\n' "$last" > "$last/bin/python"
    chmod +x "$last/bin/python" ;;
  "clean "*) ;;
  *) echo "conda $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def path(tmp_path):
    """Return a PATH on which the stand-in is."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "conda").write_text(CONDA.replace("BASE", str(base)))
    (base / "bin" / "conda").chmod(0o755)
    (base / "bin" / "activate").write_text('PATH="$1/bin:$PATH"\n')
    return f"{base / 'bin'}:{os.environ['PATH']}"


def test_jobs_run_the_python_of_their_environment(fresh, path):
    target = str(fresh.result("data/images.npz").relative_to(fresh.root))
    done = fresh.snakemake(target, "--sdm", "conda", path=path)
    assert done.returncode == 0, done.stdout
    assert len(list(fresh.root.glob(".snakemake/conda/*/ran"))) == 1
