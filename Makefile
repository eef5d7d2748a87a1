# Every target makes the virtual environment that it needs. The only thing that has to be there is Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
COMFYUI_VENV := .venv-comfyui
RUN := $(VENV)/bin/python
NPM := $(RUN) tests/js/node.py npm --prefix tests/js
JS_TOOLS := tests/js/node_modules/.ready

.PHONY: help demo test check pytest bench format clean

help:
	@echo "make demo    send a picture through a platform of its own, and look at the result"
	@echo "make test    run every check: format, lint, types, tests, and the package inside real ComfyUIs"
	@echo "make bench   measure speed and memory; prints one JSON line for each figure"
	@echo "make format  put the code into its usual form"

# Who only wants to look at it need not wait for the tools of the tests.
demo: $(if $(wildcard $(VENV)/.ready),,$(VENV)/.demo)
	$(RUN) -m comfyui_outpost.api.cli demo

test: check pytest

check: $(VENV)/.ready $(JS_TOOLS)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright --project pyproject.toml
	$(NPM) run --silent check

# The tests start programs of this package by the hundred: let Python keep what it has compiled, whatever the shell says.
# As many processes as cores are at work, so more threads in each would only wait for one another.
pytest: $(VENV)/.ready $(COMFYUI_VENV)/.ready $(JS_TOOLS)
	env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --dist loadgroup --no-loadscope-reorder

bench: $(VENV)/.ready $(COMFYUI_VENV)/.ready
	$(RUN) tests/bench/run.py

format: $(VENV)/.ready $(JS_TOOLS)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .
	$(NPM) run --silent format

clean:
	rm -rf $(VENV) $(COMFYUI_VENV) .cache demo-output tests/js/node_modules

$(VENV)/.demo: pyproject.toml
	@echo "The first time, PyTorch and a few others are fetched. That takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable '.[dev]'
	touch $@

# What checks the scripts of the pages. Node comes with the virtual environment.
$(JS_TOOLS): tests/js/package.json tests/js/package-lock.json | $(VENV)/.ready
	$(NPM) ci --no-audit --no-fund
	touch $@

# ComfyUI has an environment of its own, into which comes only what a user's ComfyUI would get.
$(COMFYUI_VENV)/.ready: requirements.txt tests/comfyui/requirements.txt
	$(PYTHON) -m venv $(COMFYUI_VENV)
	$(COMFYUI_VENV)/bin/python -m pip install --quiet -r tests/comfyui/requirements.txt -r requirements.txt
	touch $@
