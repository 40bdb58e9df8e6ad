# `make repro` runs the whole pipeline, `make test` the tests. Both make .venv first.
PYTHON ?= python3
BASE ?= main
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE  # without byte code every process would compile TensorFlow anew: 8 s

# columns of `dvc exp show` that are neither a parameter nor one of these figures
SECTIONS := split|fetch_unsplash|ingest_gopro|clean|synthesize|resize|generator|critic|train|evaluate
DROPPED := ^(?!(Experiment|seed|psnr|psnr_gain|ssim|val_psnr)$$|($(SECTIONS))\.[a-z_0-9.]+$$)|.*\.py$$

.DEFAULT_GOAL := help
.PHONY: help install repro experiments report app plots test lint format deps requirements

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 24

install: $(VENV)/.installed  ## Make .venv with what the pipeline needs

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and f"Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-app: $(VENV)/.installed requirements-app.txt
	$(PIP) -r requirements-app.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	@touch $@

repro: install  ## Run the pipeline: data, training, evaluation, deblurred photos
	python -m dvc repro
	@echo
	@python -m deblurgan scores
	@echo
	@echo "Pictures to open:"
	@find metrics/evaluate metrics/train/plots/images data/deblurred -name '*.png' | sort | sed 's/^/  /'

experiments: install  ## List experiments of the last commits: changed parameters, PSNR, gain, SSIM
	@[ -t 1 ] || export COLUMNS=120; python -m dvc exp show --only-changed --drop '$(DROPPED)' --precision 3 -n 3

app: $(VENV)/.installed-app  ## Open the page in the browser: deblur photos, compare trainings
	python -m deblurgan app

plots: $(VENV)/.installed-app  ## Write dvc_plots/index.html, which needs no network, and open it (REVS="HEAD~1 HEAD")
	python -m deblurgan plots --open $(REVS)

test: $(VENV)/.installed-dev  ## Run the tests
	python -m pytest

lint: $(VENV)/.installed-dev  ## Check style and types
	python -m ruff check .
	python -m ruff format --check .
	python -m mypy

format: $(VENV)/.installed-dev  ## Put the code into that style
	python -m ruff check --fix .
	python -m ruff format .

deps: $(VENV)/.installed-dev  ## Write into dvc.yaml which code each stage runs, after an import has changed
	python tests/stage_deps.py

report: install  ## Compare scores and parameters with another revision, as Markdown (BASE=main)
	@.ci/report $(BASE)

requirements:  ## Compile the requirements*.in for Python 3.11 to 3.13 (needs uv)
	for name in requirements requirements-jax requirements-dask requirements-app requirements-dev; do \
	  uv pip compile --universal --python-version 3.11 --no-header --quiet $$name.in -o $$name.txt || exit 1; done
