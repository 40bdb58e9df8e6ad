# `make repro` runs the whole pipeline, `make test` the tests. Both make .venv first.
PYTHON ?= python3
BASE ?= main
VENV := .venv
# the make of macOS looks for commands in this PATH only where it runs them by another shell than its own
SHELL := $(or $(shell which bash),/bin/sh)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE  # without byte code every process would compile TensorFlow anew: 8 s

# columns of `dvc exp show` that are neither a parameter nor one of these figures
SECTIONS := split|fetch_unsplash|ingest_gopro|clean|synthesize|resize|generator|critic|train|evaluate
DROPPED := ^(?!(Experiment|seed|psnr|psnr_gain|ssim|val_psnr)$$|($(SECTIONS))\.[a-z_0-9.]+$$)|.*\.py$$

# AWS Lambda: what runs there, and what makes it too large
LAMBDA := build/lambda
LAMBDA_PYTHON ?= 3.13
LAMBDA_ARCH ?= aarch64
LAMBDA_LIMIT := 250
LAMBDA_MODEL ?= $(wildcard models/generator.onnx)
PLATFORMS := $(foreach glibc,2_28 2_27 2_26 2_17,--platform manylinux_$(glibc)_$(LAMBDA_ARCH)) --platform manylinux2014_$(LAMBDA_ARCH)
NOT_RUN := onnxruntime/transformers onnxruntime/quantization onnxruntime/tools onnxruntime/datasets numpy/f2py bin

.DEFAULT_GOAL := help
.PHONY: help install repro experiments report app plots test test-all lint format deps requirements lambda s3 s3-stop test-s3

help:  ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

install: $(VENV)/.installed  ## Make .venv with what the pipeline needs

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and f"Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	[ -x $(VENV)/bin/python ] || $(PYTHON) -m venv --clear $(VENV)
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

test: $(VENV)/.installed-dev .venv-aws/.installed  ## Run the tests but the long ones: 10 minutes
	python -m pytest

test-all: $(VENV)/.installed-dev .venv-aws/.installed  ## Run all tests: 30 to 45 minutes
	python -m pytest --long

lint: $(VENV)/.installed-dev .venv-aws/.installed  ## Check style, types and deploy/template.yaml
	python -m ruff check .
	python -m ruff format --check .
	python -m mypy
	.venv-aws/bin/cfn-lint deploy/template.yaml

.venv-aws/.installed: requirements-aws.txt $(VENV)/.installed
	$(VENV)/bin/python -m venv --clear .venv-aws
	.venv-aws/bin/python -m pip install --disable-pip-version-check --no-compile -r requirements-aws.txt
	@touch $@

format: $(VENV)/.installed-dev  ## Apply the format to the code
	python -m ruff check --fix .
	python -m ruff format .

deps: $(VENV)/.installed-dev  ## Write into dvc.yaml which code each stage runs, after an import has changed
	python tests/stage_deps.py

lambda: install  ## Make the package for AWS Lambda (build/lambda) and print its size; docs/aws.md
	rm -rf $(LAMBDA)
	$(PIP) --quiet --no-deps --only-binary=:all: --implementation cp --python-version $(LAMBDA_PYTHON) $(PLATFORMS) \
	  --target $(LAMBDA) -r requirements-lambda.txt
	cp -R deblurgan params.yaml $(LAMBDA)
	python -c 'from deblurgan.events.settings import code_revision; print(code_revision())' > $(LAMBDA)/REVISION
	$(if $(LAMBDA_MODEL),mkdir $(LAMBDA)/models && cp -L $(LAMBDA_MODEL) $(LAMBDA)/models/generator.onnx,@echo "No model: Deblur=true will not work; docs/aws.md")
	cd $(LAMBDA) && rm -rf $(NOT_RUN) && find . \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
	@cd $(LAMBDA) && du -sm * | sort -rn | head -8
	@size=$$(du -sm $(LAMBDA) | cut -f1); echo "$(LAMBDA): $$size MB of the $(LAMBDA_LIMIT) that Lambda allows"; \
	  [ $$size -le $(LAMBDA_LIMIT) ]

s3: install .venv-s3/.installed  ## Start an S3 server on this machine, make its buckets, print what to export
	@python -m deploy.s3.control start

s3-stop: install  ## Stop the S3 server; its data stay
	@python -m deploy.s3.control stop

test-s3: $(VENV)/.installed-dev .venv-s3/.installed  ## Test the pipeline against an S3 server on this machine
	python -m pytest -n 0 tests/local_s3.py

.venv-s3/.installed: requirements-s3.txt $(VENV)/.installed
	$(VENV)/bin/python -m venv --clear .venv-s3
	.venv-s3/bin/python -m pip install --disable-pip-version-check --no-compile -r requirements-s3.txt
	@touch $@

report: install  ## Compare scores and parameters with another revision, as Markdown (BASE=main)
	@.ci/report $(BASE)

requirements:  ## Compile the requirements*.in for Python 3.11 to 3.13 (needs uv)
	for name in requirements requirements-jax requirements-dask requirements-app requirements-dev requirements-aws requirements-lambda requirements-s3; do \
	  uv pip compile --universal --python-version 3.11 --no-header --quiet $$name.in -o $$name.txt || exit 1; done
