# Every target makes the virtual environment that it needs. The only thing that has to be there is Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
COMFYUI_VENV := .venv-comfyui
RUN := $(VENV)/bin/python

.PHONY: help demo test check pytest bench format clean

help:
	@echo "make demo    send a picture through a platform of its own, and look at the result"
	@echo "make test    run every check: format, lint, types, tests, and the package inside real ComfyUIs"
	@echo "make bench   measure speed and memory; prints one JSON line for each figure"
	@echo "make format  put the code into its usual form"

demo: $(VENV)/.ready
	$(RUN) -m comfyui_outpost.api.cli demo

test: check pytest

check: $(VENV)/.ready
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright --project pyproject.toml

pytest: $(VENV)/.ready $(COMFYUI_VENV)/.ready
	$(RUN) -m pytest --numprocesses auto --dist loadfile

bench: $(VENV)/.ready $(COMFYUI_VENV)/.ready
	$(RUN) tests/bench/run.py

format: $(VENV)/.ready
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf $(VENV) $(COMFYUI_VENV) .cache demo-output

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable '.[dev]'
	touch $@

# ComfyUI has an environment of its own, into which comes only what a user's ComfyUI would get.
$(COMFYUI_VENV)/.ready: requirements.txt tests/comfyui/requirements.txt
	$(PYTHON) -m venv $(COMFYUI_VENV)
	$(COMFYUI_VENV)/bin/python -m pip install --quiet -r tests/comfyui/requirements.txt -r requirements.txt
	touch $@
