#!/usr/bin/env bash
# How fast the library is beside others, on this machine.
#
#   scripts/bench.sh [ROUNDS]      6 rounds of three seconds for each server and row
#
# Builds bench/ and writes bench/RESULTS.md, in about four minutes. The server runs on core 0, the
# load on core 1; bench/load counts what is delivered and reads the server's times. perf tells user
# time from the kernel's; system calls are counted with strace and instructions with callgrind, in
# runs of their own. Nothing here passes or fails: read the figures on a quiet machine, and two of
# them within 7 % as equal.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-6}
if ! [[ $rounds =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: scripts/bench.sh [ROUNDS]" >&2
    exit 2
fi
if [ "$(uname)" != Linux ] || ! command -v taskset >/dev/null || [ "$(nproc)" -lt 2 ]; then
    echo "SKIPPED: needs Linux, taskset and two cores"
    exit 0
fi
counts=() perf=()
if perf record --quiet --event=cpu-clock --output=/dev/null true >/dev/null 2>&1; then perf=(--perf); else echo "no perf: user time is in ticks of the kernel"; fi
if command -v strace >/dev/null; then counts+=(--syscalls); else echo "no strace: system calls are not counted"; fi
if command -v valgrind >/dev/null; then counts+=(--instructions); else echo "no valgrind: instructions are not counted"; fi

cargo build --release --locked --quiet --manifest-path bench/Cargo.toml
bin=${CARGO_TARGET_DIR:-bench/target}/release
ulimit -Sn "$(ulimit -Hn)"

# The version of a dependency of bench/.
version() {
    grep -A1 "^name = \"$1\"$" bench/Cargo.lock | sed -n 's/^version = "\(.*\)"$/\1/p'
}
load() {
    taskset --cpu-list 1 "$bin/load" "$@"
}

hybi="hybi=$bin/hybi broadcast {port}"
select="tokio-tungstenite, select=$bin/tokio-tungstenite broadcast {port}"
split="tokio-tungstenite, split=$bin/tokio-tungstenite broadcast-split {port}"

results=bench/RESULTS.md
{
    cat <<EOF
# Results

Written by \`scripts/bench.sh $rounds\`; what is measured, and how, is in \`README.md\`.

- $(date --utc '+%Y-%m-%d %H:%M UTC'), commit $(git describe --always --dirty --exclude '*')
- $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r), load $(cut -d ' ' -f 1 /proc/loadavg)
- $(rustc --version), fat LTO, tokio $(version tokio), tokio-tungstenite $(version tokio-tungstenite)

## Against tokio-tungstenite at its fastest: a task of its own writes

EOF
    load broadcast --rounds "$rounds" --in-flight 1,8 "${perf[@]}" "${counts[@]}" "$hybi" "$split"
    cat <<EOF

## Against tokio-tungstenite with one task and \`select!\`

EOF
    load broadcast --rounds 3 --seconds 2 --in-flight 1,8 "${perf[@]}" "$hybi" "$select"
} >"$results.new"
mv "$results.new" "$results"
cat "$results"
