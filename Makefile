# `make repro` runs the whole pipeline, `make test` the tests. Both make .venv first.
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE  # without byte code every process would compile TensorFlow anew: 8 s

# columns of `dvc exp show`: what is no parameter (they have a dot, but for the seed) and none of these figures
DROPPED := ^(?!(Experiment|seed|psnr|psnr_gain|ssim|val_psnr)$$|[a-z_]+\.[a-z_0-9.]+$$)|^(kept_by|rejected_by|doubtful|datasets|baselines|stretched|unpaired)|.*\.py$$

.PHONY: help install repro experiments test lint format deps requirements

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 24

install: $(VENV)/.installed  ## Make .venv with the pinned requirements

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and f"Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-compile -r requirements.txt
	@touch $@

repro: install  ## Run the pipeline: data, training, evaluation, deblurred photos
	python -m dvc repro
	@echo
	@python -m deblurgan.evaluation
	@echo
	@echo "Pictures to open:"
	@find metrics/evaluate metrics/train/plots/images data/deblurred -name '*.png' | sort | sed 's/^/  /'

experiments: install  ## List experiments of the last commits: changed parameters, PSNR, gain, SSIM
	@[ -t 1 ] || export COLUMNS=120; python -m dvc exp show --only-changed --drop '$(DROPPED)' --precision 3 -n 3

test: install  ## Run the tests
	python -m pytest

lint: install  ## Check style
	python -m ruff check .
	python -m ruff format --check .

format: install  ## Put the code into that style
	python -m ruff check --fix .
	python -m ruff format .

deps: install  ## Write into dvc.yaml which code each stage runs, after an import has changed
	python tests/stage_deps.py

requirements:  ## Compile requirements.in into requirements.txt for Python 3.11 to 3.13 (needs uv)
	uv pip compile --universal --python-version 3.11 --no-header --quiet requirements.in -o requirements.txt
