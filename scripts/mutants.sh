#!/usr/bin/env bash
# Breaks masking, UTF-8, frames, the decoder and the grammar of the handshake in some 670 small
# ways, one at a time, and tells which of them no test of hybi-proto notices.
#
#   scripts/mutants.sh              all: some hours on one core
#   scripts/mutants.sh 0/8          the first of eight shards, and so on up to 7/8
#
# Not part of CI. The exit status is 1 when a mutant survives: write the test that kills it, or make
# the code simpler, or say in .cargo/mutants.toml why the two cannot be told apart. A test that never
# ends, and so runs out of time, has noticed. What was found is in .cache/mutants/SHARD/mutants.out.
# cargo-mutants is installed into .cache/cargo-mutants.
set -euo pipefail
cd "$(dirname "$0")/.."

version=27.1.0
shard=${1:-0/1}
if [ $# -gt 1 ] || ! [[ $shard =~ ^[0-9]+/[1-9][0-9]*$ ]]; then
    echo "usage: scripts/mutants.sh [SHARD/OF]" >&2
    exit 2
fi
export PATH="$PWD/.cache/cargo-mutants/bin:$PATH"
if [ "$(cargo mutants --version 2>/dev/null)" != "cargo-mutants $version" ]; then
    if ! cargo install cargo-mutants --locked --quiet --version "$version" --root .cache/cargo-mutants; then
        echo "SKIPPED: cargo-mutants $version could not be installed"
        exit 0
    fi
fi

# A mutant takes the time of a build and of the tests up to the first failure.
export CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=1 RUST_BACKTRACE=0
export PROPTEST_CASES="${PROPTEST_CASES:-32}" PROPTEST_MAX_SHRINK_ITERS=0
# One that allocates without end does not take the machine with it.
ulimit -v 8000000
out=.cache/mutants/${shard/\//-of-}
mkdir -p "$out"
status=0
cargo mutants --package hybi-proto --shard "$shard" --output "$out" --no-times --colors never ||
    status=$?
case $status in
# 2: some survive; 3: some ran out of time.
0 | 2 | 3) ;;
*) exit "$status" ;;
esac
for kind in caught timeout unviable missed; do
    printf '%-10s %4d\n' "$kind" "$(wc -l <"$out/mutants.out/$kind.txt")"
done
[ ! -s "$out/mutants.out/missed.txt" ]
