#!/usr/bin/env bash
# How fast the library is beside others, on this machine.
#
#   scripts/bench.sh [--rounds N] [--also 'NAME=COMMAND {port}']... [ROW...]
#
#   a  echo,   1 connection,   1 in flight, 32 B text
#   b  echo,  64 connections,  1 in flight, 32 B text
#   c  echo,  64 connections, 32 in flight, 32 B text
#   d  echo,  64 connections,  1 in flight, 1 KiB text
#   e  echo,  16 connections,  4 in flight, 64 KiB binary
#   f  echo,   4 connections,  2 in flight, 1 MiB binary
#   g  echo,  64 connections,  1 in flight, 1 KiB JSON, compressed both ways
#   h  memory of an idle connection
#   i  broadcast of 128 B to 256 clients, 1 and 8 in flight
#   j  as g, with 64, 1,000 and 10,000 connections: how the cost grows
#   k  memory of a connection that compresses
#   m  decoding, encoding, masking and checking UTF-8, in memory
#
# Builds bench/ and measures all rows, 9 rounds each (5 of g, 3 of j), in less than fifteen minutes;
# then writes bench/RESULTS.md. Rows that are named are measured alone, and printed. `--also` puts
# another server beside the others in the rows a to h, j and k.
#
# The server runs on core 0, the load on core 1; bench/load checks what comes back and reads the
# server's times. perf tells user time from the kernel's; system calls are counted with strace and
# instructions with callgrind, in runs of their own. Nothing here passes or fails: read the figures
# on a quiet machine, and two of them within 7 % as equal.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n 's/^# \{0,1\}//; 2,17p' "$0" >&2
    exit 2
}
all=(a b c d e f g h i j k m)
rounds=9 also=() rows=()
while [ $# -gt 0 ]; do
    case $1 in
    --rounds)
        rounds=${2:-}
        [[ $rounds =~ ^[1-9][0-9]*$ ]] || usage
        shift
        ;;
    --also)
        [[ ${2:-} == ?*=?* ]] || usage
        also+=("$2")
        shift
        ;;
    [a-km]) rows+=("$1") ;;
    *) usage ;;
    esac
    shift
done
if [ "$(uname)" != Linux ] || ! command -v taskset >/dev/null || [ "$(nproc)" -lt 2 ]; then
    echo "SKIPPED: needs Linux, taskset and two cores"
    exit 0
fi
looks=()
if perf record --quiet --event=cpu-clock --output=/dev/null true >/dev/null 2>&1; then looks+=(--perf); else echo "no perf: user time is in ticks of the kernel" >&2; fi
if command -v strace >/dev/null; then looks+=(--syscalls); else echo "no strace: system calls are not counted" >&2; fi
if command -v valgrind >/dev/null; then looks+=(--instructions); else echo "no valgrind: instructions are not counted" >&2; fi

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

# The doors of the library, each a line: the first is the one that others are compared with.
hybi=(
    "hybi async=$bin/hybi echo {port}"
    "hybi events=$bin/hybi echo-events {port}"
)
raw="raw TCP=$bin/raw-tcp echo {port}"
always=(
    "fastwebsockets=$bin/fastwebsockets echo {port}"
    "sockudo-ws=$bin/sockudo-ws echo {port}"
    "wtx=$bin/wtx echo {port}"
)
websockets="tokio-websockets=$bin/tokio-websockets echo {port}"
tungstenite="tokio-tungstenite=$bin/tokio-tungstenite echo {port}"
yawc="yawc=$bin/yawc echo {port}"
websockets_batch="tokio-websockets, batch=$bin/tokio-websockets echo-batch {port}"
tungstenite_batch="tokio-tungstenite, batch=$bin/tokio-tungstenite echo-batch {port}"
yawc_batch="yawc, batch=$bin/yawc echo-batch {port}"
# Of those that have two, the faster one: with one message in flight, with many, and with large ones.
single=("${always[@]}" "$websockets" "$tungstenite" "$yawc")
many=("${always[@]}" "$websockets_batch" "$tungstenite_batch" "$yawc_batch")
large=("${always[@]}" "$websockets" "$tungstenite_batch" "$yawc_batch")

# The servers that compress. Node's ws is one if node and npm are here.
hybi_deflate=(
    "hybi async=$bin/hybi echo-deflate {port}"
    "hybi events=$bin/hybi echo-events-deflate {port}"
    "hybi async, fast=$bin/hybi echo-deflate-fast {port}"
    "hybi events, fast=$bin/hybi echo-events-deflate-fast {port}"
)
hybi_no_takeover="hybi async, no takeover=$bin/hybi echo-deflate-no-takeover {port}"
wtx_deflate="wtx=$bin/wtx echo-deflate {port}"
sockudo_deflate="sockudo-ws=$bin/sockudo-ws echo-deflate {port}"
yawc_deflate="yawc=$bin/yawc echo-deflate {port}"
yawc_deflate_12="yawc, 12 bits=$bin/yawc echo-deflate-12 {port}"
yawc_deflate_pool="yawc, pool=$bin/yawc echo-deflate-pool {port}"
deflate=(
    "$wtx_deflate"
    "$sockudo_deflate"
    "sockudo-ws, 12 bits=$bin/sockudo-ws echo-deflate-12 {port}"
    "$yawc_deflate_12"
    "yawc, fast=$bin/yawc echo-deflate-fast {port}"
)
ws=()
node_ws() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "no node and npm: ws is left out of g and k" >&2
    elif [ ! bench/ws/node_modules/.package-lock.json -nt bench/ws/package-lock.json ] &&
        ! (cd bench/ws && npm ci --no-progress --silent) >&2; then
        echo "npm has not installed ws: it is left out of g and k" >&2
    else
        ws=("ws=node bench/ws/echo.js {port}")
    fi
}

# Half a second is a hundred thousand messages, or a thousand of the largest.
echo_row() {
    local name=$1 connections=$2 in_flight=$3 size=$4 kind=$5
    shift 5
    load echo --name "$name" --rounds "$rounds" --seconds 0.5 "${looks[@]}" --raw "raw TCP" \
        --connections "$connections" --in-flight "$in_flight" --size "$size" --kind "$kind" \
        "${hybi[@]}" "$raw" "$@" ${also[@]+"${also[@]}"}
}
# Whether so many connections can be had.
ten_thousand() {
    if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt 10200 ]; then
        echo "### $1: SKIPPED, 10,000 connections need a limit of 10,200 descriptors"
        return 1
    fi
}
row() {
    case $1 in
    a) echo_row a 1 1 32 text "${single[@]}" ;;
    b) echo_row b 64 1 32 text "${single[@]}" ;;
    c) echo_row c 64 32 32 text "${many[@]}" ;;
    d) echo_row d 64 1 1024 text "${single[@]}" ;;
    e) echo_row e 16 4 65536 binary "${large[@]}" ;;
    f) echo_row f 4 2 1048576 binary "${large[@]}" ;;
    g)
        # It is spent in user space, where rounds differ less: half of them will do.
        load deflate --name g --rounds "$(((rounds + 1) / 2))" --seconds 0.5 "${looks[@]}" --uncounted ws \
            "${hybi_deflate[@]}" "${deflate[@]}" ${ws[@]+"${ws[@]}"} ${also[@]+"${also[@]}"}
        ;;
    h)
        if ten_thousand h; then
            load idle --name h "${hybi[@]}" "${single[@]}" ${also[@]+"${also[@]}"}
        fi
        ;;
    i)
        load broadcast --name i --rounds "$rounds" --seconds 0.5 --in-flight 1,8 "${looks[@]}" \
            "hybi=$bin/hybi broadcast {port}" \
            "tokio-tungstenite, split=$bin/tokio-tungstenite broadcast-split {port}" \
            "tokio-tungstenite, select=$bin/tokio-tungstenite broadcast {port}"
        ;;
    j)
        if ten_thousand j; then
            load deflate --name j --rounds 3 --seconds 0.5 --connections 64,1000,10000 \
                "${hybi_deflate[0]}" "${hybi_deflate[3]}" "$yawc_deflate_12" ${also[@]+"${also[@]}"}
        fi
        ;;
    k)
        if ten_thousand k; then
            load idle --deflate --name k \
                "${hybi_deflate[@]:0:2}" "$hybi_no_takeover" "$wtx_deflate" "$sockudo_deflate" \
                "$yawc_deflate" "$yawc_deflate_pool" ${ws[@]+"${ws[@]}"} ${also[@]+"${also[@]}"}
        fi
        ;;
    m) taskset --cpu-list 1 "$bin/memory" ;;
    esac
}

if [ ${#rows[@]} -eq 0 ] || [[ ${rows[*]} == *[gk]* ]]; then node_ws; fi
if [ ${#rows[@]} -gt 0 ]; then
    for name in "${rows[@]}"; do
        row "$name"
        echo
    done
    exit 0
fi

results=bench/RESULTS.md
{
    cat <<EOF
# Results

Written by \`scripts/bench.sh\`, $rounds rounds; what is measured, and how, is in \`README.md\`.

- $(date --utc '+%Y-%m-%d %H:%M UTC'), commit $(git describe --always --dirty --exclude '*')
- $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r), load $(cut -d ' ' -f 1 /proc/loadavg)
- $(rustc --version), fat LTO, tokio $(version tokio)
- fastwebsockets $(version fastwebsockets), sockudo-ws $(version sockudo-ws), tokio-tungstenite $(version tokio-tungstenite), tokio-websockets $(version tokio-websockets), wtx $(version wtx), yawc $(version yawc), zlib-rs $(version zlib-rs)${ws[0]+, ws $(node -p 'require("./bench/ws/node_modules/ws/package.json").version') on Node $(node --version)}
EOF
    for name in "${all[@]}"; do
        echo
        row "$name"
    done
} >"$results.new"
mv "$results.new" "$results"
cat "$results"
