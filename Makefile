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

# What a release is made with, in an environment of its own.
VERSION := $(shell sed -n 's/^VERSION = "\(.*\)"$$/\1/p' plugin/podtrace/wire/version.py)
RELEASE_VENV ?= build/release-venv
RELEASE_BIN := $(RELEASE_VENV)/bin
PORTABLE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/podtrace-release/python-$(shell \
	sha256sum release/portable-python.sh | cut -c 1-16)
# The Python that archives are frozen with: the one for old systems, once it is made.
ARCHIVE_PYTHON ?= $(or $(wildcard $(PORTABLE)/bin/python3),$(PYTHON))
RELEASE_COMPLETE := $(RELEASE_VENV)/.complete-$(shell { cat requirements-release.lock; \
	$(ARCHIVE_PYTHON) -c 'import sys; print(sys.executable, sys.version)'; } | \
	sha256sum | cut -c 1-16)
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),315532800)
PARTIAL ?=
RELEASE_URL ?=
HOMEPAGE ?=

# An environment whose interpreter went away is made again.
$(shell [ ! -e $(COMPLETE) ] || $(BIN)/python -c '' 2>/dev/null || rm -f $(COMPLETE))

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(BIN)/pytest -m 'not bench and not e2e and not kernels and not ship' $(PYTEST_ARGS)

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

.PHONY: ship
ship: $(COMPLETE) portable-python ## build all of a release and install it on a fresh Debian (as root)
	@scripts/install-dependencies.sh release
	@$(MAKE) --no-print-directory deps-release
	$(BIN)/pytest -m ship tests/ship --durations=0 $(PYTEST_ARGS)

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
	$(BIN)/python tests/demo/report_picture.py

.PHONY: image
image: ## build the tracer's image: IMAGE=name:tag PLATFORM= BASE= OUTPUT=file BUILDER=
	@scripts/build-image.sh

.PHONY: portable-python
portable-python: ## make the Python of the Linux archive, for systems since glibc 2.31 (as root)
	@[ -e $(PORTABLE) ] || scripts/install-dependencies.sh release
	@[ -e $(PORTABLE) ] || release/portable-python.sh $(PORTABLE)

.PHONY: deps-release
deps-release: $(RELEASE_COMPLETE)
$(RELEASE_COMPLETE):
	rm -rf $(RELEASE_VENV)
	$(ARCHIVE_PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_BIN)/python -m pip install --quiet --require-hashes \
		--requirement requirements-release.lock
	@touch $@

.PHONY: archive
archive: $(RELEASE_COMPLETE) ## make the archive of this platform in dist/, which needs no Python
	$(RELEASE_BIN)/python -m release.archive dist

MANIFEST = $(PYTHON) -m krew.manifest dist $(if $(RELEASE_URL),--release-url '$(RELEASE_URL)') \
	$(if $(HOMEPAGE),--homepage '$(HOMEPAGE)')

.PHONY: krew
krew: $(if $(PARTIAL),archive) ## write krew's manifest of the archives in dist/: PARTIAL=1 RELEASE_URL= HOMEPAGE=
	@$(MANIFEST) $(if $(PARTIAL),--partial)

.PHONY: dist
dist: archive ## make all that a release has in dist/, of this tree as it is
	$(RELEASE_BIN)/hatchling build -d dist
	$(RELEASE_BIN)/twine check --strict dist/podtrace-$(VERSION)-*.whl dist/podtrace-$(VERSION).tar.gz
	$(RELEASE_BIN)/python -m release.bill dist/podtrace-$(VERSION).cdx.json
	@$(MANIFEST) $(if $(and $(RELEASE_URL),$(if $(PARTIAL),,whole)),,--partial)
	cd dist && sha256sum podtrace-$(VERSION)[-.]* podtrace-v$(VERSION)-* podtrace.yaml >SHA256SUMS

.PHONY: release
release: ## the same of a tag, with all archives: RELEASE_URL= HOMEPAGE= PARTIAL=1
	@$(PYTHON) -m release.checks $(if $(PARTIAL),--partial) $(if $(RELEASE_URL),--with-address)
	@$(MAKE) --no-print-directory dist

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
lock: ## pin the newest versions of everything in both lock files (wants uv)
	uv pip compile pyproject.toml --group dev --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--output-file requirements.lock --quiet
	uv pip compile pyproject.toml --group release --constraints requirements.lock --upgrade \
		--universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --output-file requirements-release.lock --quiet

.PHONY: clean
clean: ## remove what was built, and .venv
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find plugin tracer-image tests -name __pycache__ -prune -exec rm -rf {} +
