#!/usr/bin/env bash
# hybi and other implementations, each as the client and as the server of the other.
#
#   scripts/interop.sh [PART]...      all unless told
#
#   ws                  Node's ws, with every combination of the parameters of permessage-deflate
#   undici              Node's undici, which Node.js has built in; it is a client
#   websockets          Python's websockets
#   aiohttp             Python's aiohttp
#   picows              Python's picows
#   websocket-client    Python's websocket-client; it is a client, and compresses nothing
#   chromium            a page in headless Chromium; it is a client
#   zlib                what hybi compresses, inflated by Python's zlib with exactly the window agreed on
#   proxies             scripts/proxies.sh: nginx, haproxy and HTTP/2 between hybi and these
#
# scripts/interop/lines.py says what is tried with each and judges what became of it, peers.py what a
# peer cannot do and is not tried with. A new peer is a program that serves and connects as
# scripts/interop/ws.js does, its line in peers.sh, its versions in package.json or requirements.txt,
# and its entry in peers.py. hybi's side is scripts/interop/hybi.
#
# HYBI_INTEROP names another binary than the one that is built. What is needed from npm and PyPI is
# installed into .cache/interop, Chromium is Debian's package, which root installs if it is missing.
# Each side's output is in .cache/interop/logs.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh
source scripts/interop/peers.sh

# Those that take longest come first: some run side by side.
parts=(proxies ws chromium undici websockets aiohttp picows websocket-client zlib)
wanted=("$@")
if [ $# -eq 0 ]; then wanted=("${parts[@]}"); fi
for name in "${wanted[@]}"; do
    if [[ ! " ${parts[*]} " == *" $name "* ]]; then
        echo "usage: scripts/interop.sh [${parts[*]}]..." >&2
        exit 2
    fi
done
at_once=3
logs=$peers_folder/logs
rm -rf "$logs"
mkdir -p "$logs"

declare -A running=()
status=0
# Waits until one of `running` has ended, and shows what it said.
reap() {
    local pid id ended=0
    wait -n -p pid "${!running[@]}" || ended=$?
    cat "$logs/${running[$pid]}.said"
    if [ "$ended" -ne 0 ]; then status=1; fi
    unset "running[$pid]"
    local left=()
    for id in "${started[@]}"; do if [ "$id" != "$pid" ]; then left+=("$id"); fi; done
    started=("${left[@]}")
}
# Runs the command that follows the name beside at most two others.
beside() {
    local name=$1
    shift
    while [ ${#running[@]} -ge "$at_once" ]; do reap; done
    "$@" >"$logs/$name.said" 2>&1 </dev/null &
    running[$!]=$name
    started+=("$!")
}

build_hybi_interop
declare -A port=()
for name in hybi "${wanted[@]}"; do port[$name]=$(free_port); done
# proxies.sh chooses its own while these are not all in use.
export TAKEN_PORTS="${port[*]}"
serve hybi "${port[hybi]}" "$logs/hybi-serve.log"
for part in "${wanted[@]}"; do
    case $part in
        proxies)
            # It would install them while others use them.
            install_node proxies || true
            install_python proxies || true
            beside proxies bash scripts/proxies.sh
            ;;
        zlib) beside zlib "${try_guard[@]}" python3 scripts/interop/windows.py "${port[hybi]}" ;;
        *)
            install_peer "$part" || continue
            beside "$part-hybi" try_peers "$part" hybi "ws://127.0.0.1:${port[hybi]}" "$logs/hybi-serve.log"
            python3 scripts/interop/lines.py serves "$part" || continue
            serve "$part" "${port[$part]}" "$logs/$part-serve.log"
            beside "hybi-$part" try_peers hybi "$part" "ws://127.0.0.1:${port[$part]}" "$logs/$part-serve.log"
            ;;
    esac
done
while [ ${#running[@]} -gt 0 ]; do reap; done
exit "$status"
