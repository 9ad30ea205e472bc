#!/usr/bin/env bash
# Everything that needs a GPU, in one run of under eight minutes: equality on CUDA, speed, memory, attention, a profile.
# Needs torch 2.11 or newer with CUDA, transformers 5, numpy and safetensors; no package index, no data, no weights.
# Wheels in the folder .whl (trl and what it needs) are used for TRL's own trainer if they are there.
# Usage: bash bench/gpu.sh [FOLDER for gpu.json and the log]; bench/gpu.py --help has more.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-${OUT:-bench/out}}
mkdir -p "$out"
python=${PYTHON:-python3}
export PYTHONPATH=. HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
if compgen -G ".whl/*.whl" >/dev/null; then
  site=$(mktemp -d)
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl || site=
fi
"$python" bench/gpu.py --out "$out/gpu.json" ${site:+--trl-site "$site"} "${@:2}" 2>&1 | tee "$out/gpu.log"
