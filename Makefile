# `make demo` registers a generated CT-MR pair and prints what it measured; `make test` runs the tests.
# Both build a virtual environment first and need Python 3.10-3.13, make and a package index, nothing else.
#
#   make test PYTHON=python3.12                 another interpreter
#   make demo PIP_OPTIONS="--index-url URL"     another package index, for example a mirror
#   make test PYTEST_OPTIONS="-k warp -x"       some of the tests
#   make test WORKERS=8                         so many of them at a time, each with its own 1 to 2 GB of memory

PYTHON ?= python3
PIP_OPTIONS ?=
PYTEST_OPTIONS ?= -q
WORKERS ?= 2
VENV := .venv

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

SCRIPTS := GradientGuidedRegistration/Scripts
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_OPTIONS) -c constraints.txt

.PHONY: help demo test lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    register a generated CT-MR pair into demo/ and print the figures"
	@echo "make test    run the test suite and print what it covers"
	@echo "make lint    check style, formatting and types"
	@echo "make format  bring the code into the house's formatting"
	@echo "make clean   remove the virtual environment, demo/, build/, coverage reports and caches; results stay"

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else 'Python 3.10 to 3.13 is needed, this is ' + sys.version.split()[0] + '. Choose another with PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python requirements.txt constraints.txt
	@echo "Installing the pinned requirements into $(VENV) (once; PyTorch is a large download)"
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.runtime requirements-test.txt
	@echo "Installing what the tests need into $(VENV)"
	$(PIP) -r requirements-test.txt
	@touch $@

demo: $(VENV)/.runtime
	$(BIN)/python $(SCRIPTS)/phantom.py --output demo/input --seed 5 --geometry scanner --size 160 128 112 --spacing 2
	$(BIN)/python $(SCRIPTS)/register.py \
	  --fixed demo/input/fixed_mr.nii.gz --moving demo/input/moving_ct.nii.gz \
	  --fixed-segmentation demo/input/fixed_labels.nii.gz --moving-segmentation demo/input/moving_labels.nii.gz \
	  --label-names demo/input/labels.json \
	  --transform demo/transform.h5 --warped demo/warped_ct.nii.gz --warped-segmentation demo/warped_labels.nii.gz \
	  --metrics demo/metrics.json --report demo/report
	@echo "The result is in demo/; open demo/report/report.html to look at it."

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term $(PYTEST_OPTIONS)

lint: $(VENV)/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.test
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	$(PYTHON) -c "import glob, os, shutil; [shutil.rmtree(d, ignore_errors=True) for d in ('$(VENV)', 'demo', 'build', 'htmlcov', '.pytest_cache', '.ruff_cache', '.mypy_cache', '.hypothesis', *glob.glob('*/**/__pycache__', recursive=True))]; [os.remove(f) for f in glob.glob('.coverage*')]"
