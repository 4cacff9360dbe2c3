#!/usr/bin/env bash
# hybi and other implementations, each as the client and as the server of the other.
#
#   scripts/interop.sh [ws|websockets|zlib]...      all unless told
#
#   ws           Node's ws, with every combination of the parameters of permessage-deflate
#   websockets   Python's websockets, with every combination of the windows of 9, 12 and 15 bits
#   zlib         what hybi compresses, inflated by Python's zlib with exactly the window agreed on
#
# A peer is a program that serves and connects as scripts/interop/ws.js does, a function that
# installs it, and an entry in the list `peers`; scripts/interop/combinations.py says what is tried
# and judges what became of it. hybi's side is scripts/interop/hybi.
#
# HYBI_INTEROP names another binary than the one that is built. What is needed from npm and PyPI
# is installed into .cache/interop, each side's output is in .cache/interop/logs.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh

peers=(ws websockets)
wanted=("$@")
if [ $# -eq 0 ]; then wanted=("${peers[@]}" zlib); fi
for name in "${wanted[@]}"; do
    if [[ ! " ${peers[*]} zlib " == *" $name "* ]]; then
        echo "usage: scripts/interop.sh [${peers[*]} zlib]..." >&2
        exit 2
    fi
done

folder=.cache/interop
logs=$folder/logs
# A run takes seconds; this only ends one that hangs.
guard=(timeout --kill-after=10 120)
mkdir -p "$logs"

ws_version=8.23.0
ws=(node scripts/interop/ws.js)
export NODE_PATH=$PWD/$folder/node/node_modules
install_ws() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "SKIPPED: ws needs Node.js and npm"
        return 1
    fi
    if grep -qs "\"version\": \"$ws_version\"" "$folder/node/node_modules/ws/package.json"; then return; fi
    if ! npm install --silent --no-audit --no-fund --prefix "$folder/node" "ws@$ws_version"; then
        echo "SKIPPED: ws@$ws_version could not be installed from npm"
        return 1
    fi
}

websockets_version=17.4
websockets=("$folder/python/bin/python" scripts/interop/websockets_peer.py)
install_websockets() {
    if [ "$("$folder/python/bin/pip" show websockets 2>/dev/null | sed -n 's/^Version: //p')" = "$websockets_version" ]; then return; fi
    rm -rf "$folder/python"
    if ! python3 -m venv "$folder/python" || ! "$folder/python/bin/pip" install --quiet "websockets==$websockets_version"; then
        echo "SKIPPED: websockets==$websockets_version could not be installed from PyPI"
        return 1
    fi
}

# Has the client $1 run every combination with the server $2, which listens on port $3.
try() {
    local -n command=$1
    local result=$logs/$1-$2
    python3 scripts/interop/combinations.py list "$1" "$2" >"$result.combinations"
    "${guard[@]}" "${command[@]}" connect "ws://127.0.0.1:$3" <"$result.combinations" >"$result.log" 2>"$result.err" ||
        echo "$1 ended with status $?: $(tail -n 3 "$result.err")"
    python3 scripts/interop/combinations.py judge "$1" "$2" <"$result.log"
}

if [ -z "${HYBI_INTEROP:-}" ]; then
    cargo build --release --quiet -p hybi-interop
    HYBI_INTEROP=${CARGO_TARGET_DIR:-target}/release/hybi-interop
fi
hybi=("$HYBI_INTEROP")
server_port=$(free_port)
hybi_port=$server_port
start_on_port "$logs/hybi-serve.log" "${hybi[@]}" serve "127.0.0.1:$hybi_port"

status=0
for peer in "${wanted[@]}"; do
    if [ "$peer" = zlib ]; then
        "${guard[@]}" python3 scripts/interop/windows.py "$hybi_port" || status=1
        continue
    fi
    "install_$peer" || continue
    declare -n serving=$peer
    server_port=$(free_port)
    start_on_port "$logs/$peer-serve.log" "${serving[@]}" serve "$server_port"
    try "$peer" hybi "$hybi_port" || status=1
    try hybi "$peer" "$server_port" || status=1
done
exit "$status"
