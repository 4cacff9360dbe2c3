#!/usr/bin/env bash
# Runs each fuzz target for a bounded time.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]      20 seconds, all targets
#
# Needs the nightly toolchain; cargo-fuzz is installed into .cache/cargo-fuzz. What a target has
# learned stays in .cache/fuzz/TARGET and is where the next run begins. An input that fails is kept
# under fuzz/artifacts/TARGET: make it a test of the crate before it is fixed.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.13.2
seconds=${1:-20}
shift || true
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: scripts/fuzz.sh [SECONDS] [TARGET...]" >&2
    exit 2
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "SKIPPED: no nightly toolchain; rustup toolchain install nightly --no-self-update"
    exit 0
fi
export PATH="$PWD/.cache/cargo-fuzz/bin:$PATH"
if [ "$(cargo fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ]; then
    if ! cargo install cargo-fuzz --locked --quiet --version "$version" --root .cache/cargo-fuzz; then
        echo "SKIPPED: cargo-fuzz $version could not be installed"
        exit 0
    fi
fi

listed=$(cargo +nightly fuzz list)
mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else echo "$listed"; fi)
failed=()
for target in "${targets[@]}"; do
    echo "$target, $seconds seconds"
    corpus=.cache/fuzz/$target
    log=$corpus.log
    mkdir -p "$corpus"
    seeds=()
    if [ -d "fuzz/seeds/$target" ]; then
        seeds=("fuzz/seeds/$target")
    fi
    # An input that takes ten seconds is as much a fault as one that panics.
    if cargo +nightly fuzz run "$target" "$corpus" "${seeds[@]}" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 >"$log" 2>&1 </dev/null; then
        grep -E '^Done [0-9]+ runs' "$log"
    else
        failed+=("$target")
        tail -n 40 "$log"
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
