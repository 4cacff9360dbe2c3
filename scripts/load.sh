#!/usr/bin/env bash
# As many connections as the limits allow, and messages to all of them.
#
#   scripts/load.sh                   19,000 to one `hybi serve`, 50,000 to three that share a port
#   scripts/load.sh --connections N [--servers N] [OPTION...]      see soak/load/args.rs
#
# They connect as fast as they come, hear each broadcast once and leave, twice; what it took is
# printed: time, memory, CPU, and what the kernel counted. A process may have 20,000 descriptors on
# many machines: with fewer allowed, this is skipped. No part of CI. HYBI_BIN names another server
# than the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh

if ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    echo "SKIPPED: the heap is counted in front of glibc, which is not here"
    exit 0
fi
ulimit -Sn "$(ulimit -Hn)"
if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt 20000 ]; then
    echo "SKIPPED: the load needs a limit of 20,000 descriptors; the hard limit is $(ulimit -n)"
    exit 0
fi
build_server
cargo build --release --quiet --workspace --locked --manifest-path soak/Cargo.toml

load() {
    echo "load $*"
    timeout --kill-after=10 20m soak/target/release/load --server "$HYBI_BIN" "$@"
}
if [ $# -gt 0 ]; then
    load "$@"
else
    load --connections 19000
    load --connections 50000 --servers 3
fi
