#!/usr/bin/env bash
# Mixed traffic, drawn from a seed, against `hybi serve`: what is lost, and what is not given back.
#
#   scripts/soak.sh [SECONDS] [SEED] [OPTION...]      60 seconds, any seed
#
# Echoes, broadcasts, compression, reconnects, aborts, slow readers, violations; see
# soak/traffic/main.rs. Each message says what it is, so that one that is lost, doubled, changed or
# out of order is found. Between the phases nobody is connected, and the live bytes of the heap, the
# RSS and the descriptors of the server and of the clients must be what they were. The server is the
# release build, or HYBI_BIN, with a library that counts in front of its allocator. The seed of a
# run is in its first line and its last; the same seed plays the same.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh

seconds=${1:-60}
options=()
if [ $# -gt 1 ]; then options=(--seed "$2" "${@:3}"); fi
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: scripts/soak.sh [SECONDS] [SEED] [OPTION...]" >&2
    exit 2
fi
if ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    echo "SKIPPED: the heap is counted in front of glibc, which is not here"
    exit 0
fi
build_server
cargo build --release --quiet --workspace --locked --manifest-path soak/Cargo.toml
# A phase that hangs ends after 3 minutes, and is told.
timeout --kill-after=10 $((seconds + 600)) soak/target/release/soak \
    --server "$HYBI_BIN" --seconds "$seconds" "${options[@]}"
