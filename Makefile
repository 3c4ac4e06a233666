# On a fresh machine (Python 3.11, git, make): `make demo` and `make test` do their own set-up into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
comma := ,
# onnxruntime and onnxruntime-gpu own the same module: one or the other.
RUNTIME ?= $(if $(wildcard /dev/nvidiactl),gpu,cpu)
# Without a GPU: OpenVINO, the faster of the two on CPUs measured so far, and TensorRT for RTX, whose builder needs none.
EXTRAS := $(if $(filter cpu,$(RUNTIME)),cpu$(comma)openvino$(comma)trt-rtx,$(RUNTIME))
BIN := .venv/bin
READY := .venv/ready-$(RUNTIME)
STUBS := .venv/stubs/tensorrt_stubs/py.typed
# Bindings that tests take on machines without a GPU: TensorRT's, 1 MB each and without the library (test_real_bindings.py);
# JetPack 6's of CUDA, 150 MB (test_fake_driver.py).
BINDINGS := tensorrt-cu12-bindings==10.3.0 tensorrt-cu12-bindings==11.4.0.106 cuda-python==12.6.2.post1
BINDINGS_READY := $(BINDINGS:%=.venv/bindings/%/ready)
# What judges every page in a browser (tests/pages): MPL-2.0, from npm, held to its hash, never in this repository.
AXE := axe-core@4.14.1
AXE_SHA256 := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
AXE_READY := .venv/axe-core/axe.min.js

.PHONY: setup bindings demo test test-slow mutants lint lines format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.platform != "linux" and "lits-deploy: Linux only; elsewhere use WSL2 or a Linux container" or sys.version_info < (3, 11) and "lits-deploy: the workstation needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS),dicom-out,watch,ray,train,export,bench,dev]'
	rm -f .venv/ready-*
	touch $@

demo: setup
	$(BIN)/lits-deploy demo --out demo-out

# A process of tests on each core, with one OpenMP thread: more would wait for each other.
JOBS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS)

test: bindings
	$(PYTEST) --dist loadfile

# One takes as long as many others: whoever is done takes of what another has left. What passed leaves no gigabytes behind.
test-slow: bindings
	$(PYTEST) --dist worksteal -m slow -o tmp_path_retention_policy=failed -o tmp_path_retention_count=1

# Plants the faults of tests/mutants in a copy of the checkout, one at a time: a test must fail for each.
mutants: bindings
	$(BIN)/python scripts/mutants.py

bindings: setup $(BINDINGS_READY) $(AXE_READY)

# CI must have them; another Python or processor may have no wheel of them, and then those tests skip.
.venv/bindings/%/ready: | $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --upgrade \
	  --target $(@D) $* && touch $@ || $(BIN)/python -c 'import platform, sys; \
	  sys.exit((sys.version_info[:2], platform.machine()) == ((3, 11), "x86_64"))'

# A machine without npm, or that npm's registry does not answer, skips that test.
$(AXE_READY): Makefile | $(READY)
	rm -rf $(@D) && mkdir $(@D)
	cd $(@D) && if npm pack --silent $(AXE) > /dev/null; then \
	  echo "$(AXE_SHA256)  $(subst @,-,$(AXE)).tgz" | sha256sum --check --quiet && \
	  tar --extract --file *.tgz --strip-components 1 --touch package/axe.min.js; \
	else echo "npm did not bring axe-core: tests/pages skip"; fi

# Type stubs of TensorRT, where only mypy looks (pyproject.toml, mypy_path). As published they are not Python: parameters are
# called `in`, and one without a default stands behind some with one. Where these rules do not help, mypy names the line.
$(STUBS): $(READY)
	rm -rf .venv/stubs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --constraint constraints.txt \
	  --target .venv/stubs tensorrt-stubs
	find .venv/stubs -name '*.pyi' -exec sed --in-place --regexp-extended \
	  '/^ *def /{ s/([(,] ?)in: /\1in_: /g; s/(= None, channel_axis: int)\)/\1 = ...)/ }' {} +
	touch $@

lint: setup $(STUBS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Source lines and files outside tests, by package and in all.
lines:
	@git ls-files '*.py' '*.jinja' '*.css' '*.js' | grep -v '^tests/' | xargs wc -l | awk '$$2 != "total" { \
	  split($$2, path, "/"); lines[path[1]] += $$1; files[path[1]]++; all += $$1; count++ } \
	  END { for (name in lines) printf "%7d lines %4d files  %s\n", lines[name], files[name], name | "sort -k5"; \
	  close("sort -k5"); printf "%7d lines %4d files  in all\n", all, count }'

clean:
	rm -rf .venv demo-out dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
