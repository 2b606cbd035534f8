# Two commands for people: `make run` and `make test`. Everything they need is set up on the way.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCKING := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

.PHONY: run demo test lint fix bench mutate lock clean

run: $(STAMP)                 ## start the gateway on its embedded default
	$(BIN)/dicom-gateway serve

demo: $(STAMP)                ## the main job end to end, on bundled images
	$(BIN)/dicom-gateway demo

test: lint                    ## the whole suite, a file of tests at a time on each processor
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)                ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP)                 ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)               ## measure against peers, in the same run
	$(BIN)/python -m tests.bench

mutate: $(STAMP)              ## ten thousand damaged objects over all decoders
	MUTATIONS=10000 $(BIN)/python -m pytest -q tests/transcode/test_mutations.py

lock: $(STAMP)                ## renew the locked versions
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile $(LOCKING) pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile $(LOCKING) --group dev pyproject.toml -o requirements-dev.lock

$(STAMP): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
