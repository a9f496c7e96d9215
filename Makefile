# make paper    set up everything, run the digits experiment, build results/paper.pdf
# make test     set up everything, run the tests
# make test-cluster   run the workflow on a SLURM of one node, which root sets up for it
# make setup    only create .venv from the lock
#
# PYTHON=python3.12   another interpreter (3.11 or newer)
# CORES=8             how many cores to use (default: all)
# RUN=all       experiments of the paper that are run here (all, none, or names with commas; default: config/paper.yaml)

PYTHON ?= python3
CORES ?= all

VENV := .venv
READY := $(VENV)/.ready
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

TEX := latexmk texlive-latex-base texlive-latex-recommended texlive-latex-extra texlive-pictures \
	texlive-fonts-recommended texlive-science lmodern

.DEFAULT_GOAL := help
.PHONY: help paper test test-cluster setup tex lock schema drawing claims format clean

help:
	@sed -n 's/^# \{0,1\}//p; /^$$/q' Makefile

paper: setup tex
	@$(IN_VENV) snakemake --cores $(CORES) $(if $(RUN),--config run=$(RUN))

# Files of tests stay whole, so that what their tests share is made once; tests/workflow/conftest.py puts the long ones first.
test: setup tex
	@$(IN_VENV) python -m pytest -m "not cluster" --numprocesses auto --dist loadfile --no-loadscope-reorder

test-cluster: setup tex
	@$(IN_VENV) python -m pytest -m cluster

setup: $(READY)

# Byte code is compiled once here, since every job starts a Python of its own.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; install a newer one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@if command -v uv > /dev/null; then \
		set -e; echo "Creating $(VENV) with uv"; \
		uv venv --quiet --clear --python "$$(command -v $(PYTHON))" $(VENV); \
		uv pip install --quiet --compile-bytecode --python $(VENV) --require-hashes -r requirements.txt; \
		uv pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .; \
	else \
		set -e; echo "Creating $(VENV) with pip (about 3 minutes; uv takes 1)"; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { echo "Python cannot create environments here; type: sudo apt-get install python3-venv" >&2; exit 1; }; \
		$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt; \
		$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $(READY)

# Without TeX, and without the right to install it, everything but the PDF is made, and the last
# job says what to type.
tex:
	@if command -v latexmk > /dev/null && kpsewhich siunitx.sty algpseudocode.sty lmodern.sty > /dev/null; then :; \
	elif ! command -v apt-get > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ]; then \
		echo "Installing TeX from Debian's packages"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(TEX); } > /dev/null || true; \
	elif sudo -n true 2> /dev/null; then \
		echo "Installing TeX from Debian's packages"; \
		{ sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(TEX); } > /dev/null || true; \
	fi

# The lock holds every dependency, for all supported versions of Python, with hashes.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra study --group dev pyproject.toml \
		--output-file requirements.txt --custom-compile-command "make lock" $(LOCKFLAGS)
	$(PYTHON) workflow/scripts/conda_environment.py requirements.txt environment.yml

schema: setup
	@$(IN_VENV) python -c 'from random_mask.experiment.config import json_schema; print(json_schema(), end="")' \
		> workflow/schemas/config.schema.json

drawing: setup
	@$(IN_VENV) sh -c 'snakemake --rulegraph mermaid-js | python workflow/scripts/drawing.py CONTRIBUTING.md'

# The kept results are judged by today's claims, then what readers are told of them is written.
claims: setup
	@$(IN_VENV) python workflow/scripts/claims_table.py

format: setup
	@$(IN_VENV) sh -c 'ruff format . && ruff check --fix . && snakefmt Snakefile workflow'

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
