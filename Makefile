# Every target sets up what it needs; a fresh machine has Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every process would compile all that it imports again: a second of a demo's start, and a minute of the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup check format test test-killing browser demo bench lock
setup: $(VENV)/.ready

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements-dev.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Four processes, as tests wait more than they compute; in the order of the files, so that the longest come first.
test: setup
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -q

# Kills a process at every commit and every mutating call of a deploy and of a rollback, then gives bad answers there, and says each.
test-killing: setup
	$(BIN)/pytest -q -m killing tests/killing

# The tests marked `browser` drive the page of the sandbox with it; without it they are skipped and say so.
BROWSERS := chromium chromium-browser google-chrome
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null; \
	else \
		echo 'No browser: install Chromium (on Debian: sudo apt-get install chromium) to run the tests of the page.' >&2; exit 1; \
	fi

demo: setup
	$(BIN)/release-bot demo

bench: setup
	$(BIN)/python -m bench

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --all-extras
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate pyproject.toml -o requirements.lock
	$(LOCK) -c requirements.lock pyproject.toml -o requirements-dev.lock
