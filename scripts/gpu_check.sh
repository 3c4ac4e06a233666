#!/usr/bin/env bash
# One command on a machine with an NVIDIA GPU: the tests that need one, then speeds, into benchmarks/results/<gpu>.json.
# Installs nothing and works with what is there. Arguments go to `python -m benchmarks.gpu_check`.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || command -v python3)}

"$python" -m benchmarks.gpu_check --probe || exit 2
worst=0
"$python" -m pytest -q -m "gpu or tensorrt" || worst=$?
"$python" -m benchmarks.gpu_check "$@" || worst=$?
exit "$worst"
