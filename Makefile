# The two commands for a fresh machine (Debian or Ubuntu, Python 3.11 or later):
#   make demo    sets everything up and runs one whole turn on the embedded nano models
#   make test    sets everything up and passes the tests

SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TOKENIZERS_PARALLELISM := false
# Some machines set it. Every process would then compile all that it imports, which takes longer than what it is there for.
unexport PYTHONDONTWRITEBYTECODE

# pip compiles one file after the other; COMPILE does it on all cores, and leaves out what is seldom imported (compiled when it is).
PIP = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-compile -c constraints.txt
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '/(tests?|testing)/|/transformers/models/' $(VENV)/lib || true
# Says what is fetched, how large it is, and how far it is; pip's own account is longer than a person reads.
SAY = awk -v all="$$(wc -l < constraints.txt)" '/^Collecting/ { n++ } \
	/Downloading/ && !/metadata/ { printf "  [package %d of at most %d] %s %s %s\n", n, all, $$2, $$3, $$4; fflush() } \
	/^Installing collected/ { print "  unpacking"; fflush() } /^(ERROR|Successfully)/ { print substr($$0, 1, 120) }'

# A process a core, each with the tests of whole files; the longest files begin first (tests/kit/order.py), which xdist would put last:
# it begins with the files of most tests.
TESTS = OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Where all tests marked `alone` are: reading the others takes half a minute.
ALONE = tests/deployments/test_*.py

.PHONY: demo postgres test test-unit test-gpu test-newest lint format types up clean chromium nginx slurm

demo: $(VENV)/.installed
	$(BIN)/flenwheel demo

test: $(VENV)/.installed-dev chromium nginx postgres slurm lint types
	$(TESTS) -m "not alone"
	$(BIN)/pytest -q -m alone $(ALONE)

test-unit: $(VENV)/.installed-dev
	$(TESTS) -m "not slow and not gpu"

test-gpu:
	$(PYTHON) -m pytest -q -W default -m gpu tests/gpu

# The newest versions that pyproject.toml allows, in an environment of their own, on the models' own tests; no card needed. It says which
# versions they were and removes the environment.
NEWEST = .venv-newest
test-newest: | $(VENV)/bin/python
	$(PYTHON) -m venv $(NEWEST)
	@$(subst $(BIN),$(NEWEST)/bin,$(subst -c constraints.txt,,$(PIP))) -e '.[dev]' | $(SAY)
	$(NEWEST)/bin/python -m pip list --disable-pip-version-check | grep -E '^(torch|transformers|diffusers|peft|accelerate|bitsandbytes) '
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -q -W default -m "not slow and not gpu" \
		tests/core/models tests/core/adapters tests/core/transformer tests/core/engine tests/core/kernels tests/core/nano
	rm -rf $(NEWEST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: $(VENV)/.installed
	$(BIN)/flenwheel up

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("FLENwheel needs Python 3.11 or later; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing FLENwheel's packages: about 3 GB to fetch (torch and its CUDA libraries), 6 GB on disk; some minutes."
	@$(PIP) -e '.[notify,plots]' | $(SAY)
	@$(BIN)/flenwheel models people || echo "  Until then faces are found from the front only, no expression of people is read, and no writing is found."
	@echo "  compiling"; $(COMPILE)
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need."
	@$(PIP) -e '.[dev]' | $(SAY)
	@$(COMPILE)
	touch $@

# The browser tests drive Debian's Chromium; it is installed if it is not there.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		echo "installing chromium for the browser tests"; \
		if [ "$$(id -u)" = 0 ]; then s=; else s=sudo; fi; \
		$$s apt-get update -qq && $$s apt-get install -y -qq chromium >/dev/null; }

# The tests of a proxy drive Debian's nginx. Its program alone is unpacked, not installed: nothing of it starts on this machine.
nginx: | $(VENV)/bin/python
	@command -v nginx >/dev/null || test -x $(VENV)/nginx/usr/sbin/nginx || { \
		echo "fetching nginx for the tests of a proxy"; \
		if [ "$$(id -u)" = 0 ]; then s=; else s=sudo; fi; \
		rm -rf $(VENV)/nginx && mkdir -p $(VENV)/nginx && cd $(VENV)/nginx && \
		{ apt-get download -qq nginx 2>/dev/null || { $$s apt-get update -qq && apt-get download -qq nginx; }; } && dpkg -x nginx_*.deb .; }

# The test of the template for Slurm runs a cluster of one node. As with nginx, its programs alone are unpacked, 14 MB, under the names by
# which they know who they are; libraries come along, since nothing is installed. Where they cannot be had the test is skipped, and says so.
SLURM := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15 liblua5.1-0
slurm: | $(VENV)/bin/python
	@command -v slurmctld >/dev/null || test -x $(VENV)/slurm/usr/sbin/slurmctld || { \
		echo "fetching Slurm for the test of its template"; \
		if [ "$$(id -u)" = 0 ]; then s=; else s=sudo; fi; \
		rm -rf $(VENV)/slurm && mkdir -p $(VENV)/slurm && cd $(VENV)/slurm && \
		{ apt-get download -qq $(SLURM) 2>/dev/null || { $$s apt-get update -qq && apt-get download -qq $(SLURM); }; } && \
		for one in *.deb; do dpkg -x $$one . && rm $$one; done && \
		for one in slurmd slurmstepd slurmctld; do test -e usr/sbin/$$one || ln -s $$one-wlm usr/sbin/$$one; done; } || \
		echo "Slurm cannot be fetched here; its test is skipped"

# The tests of a cluster start Postgres servers of their own, on loopback and in folders of their own; Debian's package would start one, too.
postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
		echo "installing Postgres for the tests of a cluster"; \
		if [ "$$(id -u)" = 0 ]; then s=; else s=sudo; fi; \
		$$s mkdir -p /etc/postgresql-common; \
		test -e /etc/postgresql-common/createcluster.conf || \
			echo "create_main_cluster = false" | $$s tee /etc/postgresql-common/createcluster.conf >/dev/null; \
		$$s apt-get update -qq && $$s apt-get install -y -qq postgresql >/dev/null; }

clean:
	rm -rf $(VENV) build dist *.egg-info
