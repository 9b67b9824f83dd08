# Every target sets itself up: `make study` on a fresh machine needs Python 3.11+, make and a
# package index, nothing else.

PYTHON  ?= python3
CORPUS  ?= synthetic
DATA    ?=
PROFILE ?= full
EDITION ?= local
HOST    ?= 127.0.0.1
PORT    ?= 8000
MODELS  ?= serve/models

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready

# Compiled modules are kept: tests and workers start many processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: study test test-fast test-all serve book lint lock clean
.DEFAULT_GOAL := study

# The lock is complete, so --no-deps is safe; hashes are checked.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; try 'make PYTHON=python3.11'"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

study: $(READY)
	@$(BIN)/msr run --corpus "$(CORPUS)" --data "$(DATA)" --profile $(PROFILE) --edition $(EDITION)
	@$(BIN)/msr book --edition $(EDITION) --corpus "$(CORPUS)" --data "$(DATA)"
	@echo "To serve the published model: make serve, then open http://$(HOST):$(PORT)"
	@echo "To serve this study's own: make serve MODELS=reports/$(EDITION)/<corpus>/export/bundles"

# All of the published edition, two runs at a time; DATA is the folder in which the corpora lie.
# BENCH_PEERS_PYTHON, if set, is an interpreter that has vibenet, to be scored beside the release
# and the search by mood.
# Hours; what is done is not done again.
PUBLISH = $(BIN)/msr run --edition published --jobs 2
.PHONY: published
published: $(READY)
	$(BIN)/msr weights fetch && $(BIN)/msr weights fetch jamendo_fcn
	$(PUBLISH) --corpus folder --data $(DATA)/vgmidi \
		--experiment musicnn --experiment transformer-pretrained --experiment lstm-ablation
	$(PUBLISH) --corpus folder --data $(DATA)/vgmidi
	$(PUBLISH) --corpus folder --data $(DATA)/vgmidi --experiment all \
		-p quadrants_dir $(DATA)/quadrants -p emotify_dir $(DATA)/emotify -p unseen_dir $(DATA)/deam
	for corpus in "emotify --data $(DATA)/emotify" "folder --data $(DATA)/quadrants"; do \
		$(PUBLISH) --corpus $$corpus && $(PUBLISH) --corpus $$corpus --experiment all \
			-p curves_dir $(DATA)/vgmidi -p emotify_dir $(DATA)/emotify || exit 1; \
	done
	$(PUBLISH) --corpus deam --data $(DATA)/deam --only data --only static --only transfer --only text
	$(PUBLISH) --corpus emopia --data $(DATA)/emopia \
		-p pretrain_dir $(DATA)/pop909 -p curves_dir $(DATA)/vgmidi
	$(PUBLISH) --corpus pmemo --data $(DATA)/pmemo --experiment lyrics
	$(PUBLISH) --experiment service

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not extended"

# With further cases of what the others show as well: about half as long again.
test-all: $(READY)
	$(BIN)/python -m pytest -n 2

# Without the tests that are marked slow: about two minutes on two cores.
test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow and not extended"

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy msr_utils serve

serve: $(READY)
	$(BIN)/python -m serve --host $(HOST) --port $(PORT) --models $(MODELS)

book: $(READY)
	@$(BIN)/msr book

# The whole book as one page, printed by Chromium (Debian: apt-get install chromium).
.PHONY: pdf
pdf: $(READY)
	@$(BIN)/msr book --pdf

# The features and whole files on one core, then the service. DATA names a folder of music; BENCH_PEERS_PYTHON an
# interpreter that has openSMILE, Essentia and vibenet, which the lock does not hold (see
# tests/README.md).
.PHONY: bench
bench: $(READY)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1 \
		$(BIN)/python tests/benchmarks/bench_features.py $(if $(DATA),--audio "$(DATA)")
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1 \
		$(BIN)/python tests/benchmarks/bench_files.py $(if $(DATA),--audio "$(DATA)")
	@$(BIN)/python tests/benchmarks/bench_service.py $(if $(DATA),--audio "$(DATA)")

# Needs uv on the PATH: pins every package for every platform, without naming an index.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra dev pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--python-version 3.11 --extra serve --extra library --constraint requirements.lock pyproject.toml \
		-o serve/requirements.lock
	$(PYTHON) -m msr_utils.study.conda_file

clean:
	rm -rf $(VENV) .cache book/_build reports/local* reports/scratch
