#!/usr/bin/env bash
# What this project does on a GPU, in at most eight minutes: the tests marked gpu; a training step beside the plain loop
# at several batch sizes with Stable Diffusion 1.5's architecture (seconds, memory, share of the FLOP floor); sampling.
#
#   benchmarks/gpu.sh              prints Markdown; exit code 1 when a part failed (the others run all the same)
#
# Settings by environment; a CPU's, small:
#   BASE=pocket BATCHES=1 STEPS=1 PRECISION=fp32 RESOLUTION=128 MEMORY=no TESTS=tests/lora benchmarks/gpu.sh
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
BASE=${BASE:-sd15}
BATCHES=${BATCHES:-1 4 16}
STEPS=${STEPS:-10}
PRECISION=${PRECISION:-bf16}
RESOLUTION=${RESOLUTION:-512}
SAMPLING_STEPS=${SAMPLING_STEPS:-20}
MEMORY=${MEMORY:-yes}
TESTS=${TESTS:-tests}
failed=0
weights=$(mktemp -d)
trap 'rm -rf "$weights"' EXIT

# Print a title, run a command for at most so many seconds, and go on whatever it returns.
part() {
    local seconds=$1 title=$2
    shift 2
    printf '\n## %s\n\n`%s`\n\n' "$title" "${*#"$PYTHON"}"
    timeout "$seconds" "$@"
    local code=$?
    if [ "$code" -ne 0 ]; then
        printf '\nfailed with exit code %d\n' "$code"
        failed=1
    fi
}

gpu_tests() {
    "$PYTHON" -m pytest -q -p no:cacheprovider -m gpu "$TESTS"
    local code=$?
    [ "$code" -eq 5 ] && echo "no tests are marked gpu" && return 0
    return "$code"
}
export -f gpu_tests
export PYTHON TESTS

if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
fi
"$PYTHON" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)' || failed=1
part 60 "Tests marked gpu" bash -c gpu_tests
memory=()
[ "$MEMORY" = no ] && memory=(--no-memory)
common=(--base "$BASE" --weights "$weights" --precision "$PRECISION" --resolution "$RESOLUTION")
for batch in $BATCHES; do
    part 100 "Training step, batch $batch" \
        "$PYTHON" -m benchmarks.train "${common[@]}" --batch "$batch" --steps "$STEPS" ${memory[@]+"${memory[@]}"}
done
part 100 "Sampling" "$PYTHON" -m benchmarks.sampling "${common[@]}" --batches $BATCHES --steps "$SAMPLING_STEPS"
exit "$failed"
