SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
SETUP ?=

BIN := $(VENV)/bin
# Named after the lock's content: times of files say nothing in a fresh clone.
COMPLETE := $(VENV)/.complete-$(shell sha256sum requirements.lock | cut -c 1-16)
ROOT := $(filter 0,$(shell id -u))
C_SOURCES := $(wildcard bpf/*.c bpf/*.h launcher/*.c)

# An environment whose interpreter went away is made again.
$(shell [ ! -e $(COMPLETE) ] || $(BIN)/python -c '' 2>/dev/null || rm -f $(COMPLETE))

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: deps-test $(COMPLETE) ## install what is missing for everything below

.PHONY: deps-demo deps-test
deps-demo:
	@scripts/install-dependencies.sh bcc metrics network
deps-test:
	@scripts/install-dependencies.sh bcc metrics prometheus network compiler capabilities pahole openssl \
		strace

$(COMPLETE):
	@PYTHON='$(PYTHON)' scripts/install-dependencies.sh python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@rm -f $(VENV)/.complete-*
	@touch $@

.PHONY: build
build: $(COMPLETE) ## compile to byte code and make the wheel in dist/
	$(BIN)/python -m compileall -q plugin
	/usr/bin/python3 -m compileall -q tracer-image/podtracer
	$(BIN)/hatchling build -t wheel -d dist

.PHONY: build-setup
build-setup: build ## build, and let a group trace without sudo: SETUP='--group NAME' (as root)
	@scripts/install-dependencies.sh bcc compiler capabilities
	scripts/setup-capabilities.sh $(SETUP)

.PHONY: demo
demo: deps-demo $(COMPLETE) ## trace a small workload for ten seconds and print the report (as root)
	$(BIN)/python tests/demo/run.py

.PHONY: test
test: $(if $(ROOT),deps-test) $(COMPLETE) ## run the tests; those that trace for real only as root
	$(BIN)/pytest -m 'not bench and not e2e and not kernels' $(PYTEST_ARGS)

.PHONY: e2e
e2e: $(COMPLETE) ## run the tests on a Kubernetes: that of $$KUBECONFIG, else one made here (as root)
	@[ -n "$${KUBECONFIG:-}" ] || \
		scripts/install-dependencies.sh cluster compiler emulation images network openssl terminal
	@[ -n "$${KUBECONFIG:-}" ] || PYTHONPATH=tests $(BIN)/python -m e2e.machine prepare
	code=0; $(BIN)/pytest -m e2e tests/e2e $(PYTEST_ARGS) || code=$$?; \
		PYTHONPATH=tests $(BIN)/python -m e2e.machine sweep; exit $$code

.PHONY: kernels
kernels: $(COMPLETE) ## run the tests on Debian's kernels in QEMU and note what they gave (as root)
	@scripts/install-dependencies.sh kernels
	PYTHONPATH=tests $(BIN)/python -m kernels.guest prepare
	$(BIN)/pytest -m kernels tests/kernels --durations=0 $(PYTEST_ARGS)
	PYTHONPATH=tests $(BIN)/python -m kernels.page

.PHONY: bench
bench: $(COMPLETE) ## measure what tracing costs, beside bpftrace (as root; minutes)
	@scripts/install-dependencies.sh bcc compiler metrics network bpftrace
	$(BIN)/python tests/bench/startup.py
	$(BIN)/python tests/bench/idle_cost.py
	$(BIN)/python tests/bench/metrics_cost.py
	$(BIN)/python tests/bench/read_cost.py

.PHONY: pictures
pictures: deps-demo $(COMPLETE) ## draw docs/pictures again, from a trace of the demo (as root)
	@scripts/install-dependencies.sh prometheus browser
	$(BIN)/python tests/demo/pictures.py

.PHONY: image
image: ## build the tracer's image: IMAGE=name:tag PLATFORM= BASE= OUTPUT=file BUILDER=
	@scripts/build-image.sh

.PHONY: lint
lint: $(COMPLETE) ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=plugin:tracer-image $(BIN)/lint-imports --no-cache --no-logo
	$(if $(C_SOURCES),$(BIN)/clang-format --dry-run --Werror $(C_SOURCES))

.PHONY: format
format: $(COMPLETE) ## rewrite the sources in the project's style
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .
	$(if $(C_SOURCES),$(BIN)/clang-format -i $(C_SOURCES))

.PHONY: lock
lock: ## pin the newest versions of everything in requirements.lock (wants uv)
	uv pip compile pyproject.toml --group dev --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--output-file requirements.lock --quiet

.PHONY: clean
clean: ## remove what was built, and .venv
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find plugin tracer-image tests -name __pycache__ -prune -exec rm -rf {} +
