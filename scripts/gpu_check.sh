#!/usr/bin/env bash
# One command on a machine with an NVIDIA GPU: everything is checked and timed, part by part, within eight minutes.
# Runs from the checkout and installs nothing; `--list` names the parts. Arguments go to `python -m benchmarks.gpu_check`.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || command -v python3)}
exec "$python" -m benchmarks.gpu_check "$@"
