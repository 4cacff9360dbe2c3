#!/usr/bin/env bash
# Runs each fuzz target for a bounded time, two of them at once.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]      20 seconds, all targets
#
# Needs the nightly toolchain; cargo-fuzz is installed into .cache/cargo-fuzz. What a target has
# learned stays in .cache/fuzz/TARGET and is where the next run begins, and what it said in
# .cache/fuzz/TARGET.log. An input that fails is kept under fuzz/artifacts/TARGET: make it a test of
# the crate before it is fixed.
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
mkdir -p .cache/fuzz
start=$SECONDS
# One target alone is built alone.
only=()
if [ ${#targets[@]} -eq 1 ]; then only=("${targets[0]}"); fi
if ! cargo +nightly fuzz build "${only[@]}" >.cache/fuzz/build.log 2>&1 </dev/null; then
    cat .cache/fuzz/build.log
    exit 1
fi
echo "built in $((SECONDS - start)) s; ${#targets[@]} targets, $seconds s each"

# What a target has to say is said at once, so that those that run beside each other do not mix.
run() {
    local target=$1 corpus=.cache/fuzz/$1 log=.cache/fuzz/$1.log seeds=() said
    mkdir -p "$corpus"
    if [ -d "fuzz/seeds/$target" ]; then
        seeds=("fuzz/seeds/$target")
    fi
    # An input that takes ten seconds is as much a fault as one that panics.
    if timeout --kill-after=10 $((seconds * 2 + 300)) \
        cargo +nightly fuzz run "$target" "$corpus" "${seeds[@]}" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 >"$log" 2>&1 </dev/null; then
        said=$(sed -nE 's/^#([0-9]+)\s+DONE\s+cov: ([0-9]+) .* corp: ([0-9]+).*/\1 runs, \2 edges, \3 inputs kept/p' "$log")
        printf '%-14s %s\n' "$target" "$said"
    else
        touch ".cache/fuzz/$target.failed"
        said=$(grep -v '^#[0-9]' "$log" | tail -n 60)
        printf '%-14s FAILED\n%s\n' "$target" "$said"
    fi
}

rm -f .cache/fuzz/*.failed
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
    run "$target" &
done
wait
failed=()
for target in "${targets[@]}"; do
    if [ -e ".cache/fuzz/$target.failed" ]; then failed+=("$target"); fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
