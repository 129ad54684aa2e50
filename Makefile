# Everything runs in .venv, made by the first command that needs it.
PYTHON ?= python3
PORT   ?= 0
VENV   := .venv
BIN    := $(VENV)/bin
BINDER := .venv-binder
LITE   := .venv-lite
SITE   := _build/html
HOUSE  := _config.yml _toc.yml requirements.txt pyproject.toml
BOOK   := $(BIN)/jupyter-book build .
LOCK   := uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Many small matrices: BLAS threads would only wait for one another.
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := book
.PHONY: help book serve lab test lint bench torch distributed referees mutants links claims data sweeps lock clean

help:           ## list the commands
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*##/\t/' | sort | expand -t 10

book: _build/book.stamp   ## build the book (the default)
	@echo 'The book is built. Open $(SITE)/index.html, or run: make serve'

serve: book     ## serve the built book on this machine (PORT=8000, or any free port)
	@cd $(SITE) && '$(CURDIR)/$(BIN)/python' -u -m http.server --bind 127.0.0.1 $(PORT)

lab: $(BINDER)/stamp   ## open the pages as notebooks in JupyterLab, as Binder does
	JUPYTER_CONFIG_PATH='$(CURDIR)/binder' $(BINDER)/bin/jupyter lab

test: $(VENV)/dev.stamp $(BINDER)/stamp book   ## run every test (ARGS='-k dropout' for some)
	@$(BIN)/python -m tests.browser_setup
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

lint: $(VENV)/dev.stamp   ## style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files -co --exclude-standard -z | xargs -0 $(BIN)/codespell

bench: $(VENV)/dev.stamp book   ## measure what a reader waits for, and the library (ARGS=--store for its page)
	@$(BIN)/python -m tests.browser_setup
	$(BIN)/python -m tests.bench $(ARGS)

torch: $(VENV)/torch.stamp   ## install PyTorch, with which `make test` compares, too (large on some machines)

distributed: $(VENV)/torch.stamp   ## only the tests that train on several processes
	$(BIN)/python -m pytest -m distributed tests/distributed $(ARGS)

referees: $(VENV)/torch.stamp   ## only the comparisons with independent frameworks
	$(BIN)/python -m pytest -m referee tests/trainlab $(ARGS)

mutants: $(VENV)/dev.stamp   ## change the library here and there, and see whether a test notices (ARGS=dropout)
	$(BIN)/python -m tests.mutants $(ARGS)

links: $(VENV)/book.stamp   ## check every link of the book (needs the network)
	$(BOOK) --builder linkcheck

claims: $(VENV)/dev.stamp   ## which test shows which claim of the ledger
	@$(BIN)/python -m tests.claims

data: $(VENV)/dev.stamp   ## make the stored digits and the corpus of this book again
	$(BIN)/python -m tests.make_data

sweeps: $(VENV)/dev.stamp   ## run the stored training runs again (ARGS='NAME --backend dask' for some, elsewhere)
	$(BIN)/python -m trainlab.sweeps $(ARGS)

lock:           ## pin the requirements again (UPGRADE=--upgrade for newer ones)
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/$(LOCK) --extra book $(UPGRADE) -q -o requirements.txt \
	  --custom-compile-command 'make lock, which runs: $(LOCK) --extra book'
	$(BIN)/$(LOCK) --extra binder -c requirements.txt $(UPGRADE) -q -o binder/jupyterlab.txt \
	  --custom-compile-command 'make lock, which runs: $(LOCK) --extra binder -c requirements.txt'
	$(BIN)/$(LOCK) --extra book --extra dev -c requirements.txt $(UPGRADE) -q -o requirements-dev.txt \
	  --custom-compile-command 'make lock, which runs: $(LOCK) --extra book --extra dev -c requirements.txt'

clean:          ## remove what was built (the packages in .venv stay)
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find book lib tests -name __pycache__ -prune -exec rm -rf {} +

# Pages that changed are built again, after a change of the library all that run; of the house, all.
# A failed build leaves no environment behind: its warnings would not be seen a second time.
_build/book.stamp: $(VENV)/book.stamp .runtime/stamp .lite/stamp $(HOUSE) $(shell find book lib -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*')
	$(BOOK) -W -n --keep-going $(if $(filter-out book/%.md lib/% .runtime/% .lite/%,$?),--all) \
	  || { code=$$?; rm -rf _build/.doctrees; exit $$code; }
	@touch $@

# Python for the browser, and JupyterLite on it: in the book where they can be had. Where not, the
# stamp is older than anything: the next call tries again, and no page is built again for it.
.runtime/stamp: lib/explorables/runtime.py lib/explorables/compile_runtime.mjs $(VENV)/book.stamp
	@mkdir -p .runtime
	@$(BIN)/python -m explorables.runtime .runtime && touch $@ || touch -t 198001010000 $@

.lite/stamp: $(wildcard lite/*) .runtime/stamp
	@rm -rf .lite && mkdir .lite
	@echo 'Collecting JupyterLite, for notebooks in the browser.'
	@{ $(MAKE) -s $(LITE)/stamp && lite/build $(BIN)/python $(LITE)/bin/jupyter; } > .lite/log 2>&1 && touch $@ \
	  || { echo 'The book is built without notebooks in the browser; .lite/log says why.'; \
	       rm -rf .lite/site; touch -t 198001010000 $@; }

$(LITE)/stamp: lite/requirements.txt
	$(PYTHON) -m venv $(LITE)
	$(LITE)/bin/python -m pip install --quiet --no-deps --requirement lite/requirements.txt
	@touch $@

$(VENV)/book.stamp: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version)'
	@echo 'Installing the book builder in $(VENV): a few minutes, once.'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/book.stamp
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@

$(VENV)/torch.stamp: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --editable '.[torch]'
	@touch $@

# What Binder installs, and nothing else: JupyterLab is tested with this.
$(BINDER)/stamp: binder/requirements.txt binder/jupyterlab.txt requirements.txt pyproject.toml
	$(PYTHON) -m venv $(BINDER)
	$(BINDER)/bin/python -m pip install --quiet --requirement binder/requirements.txt
	@touch $@
