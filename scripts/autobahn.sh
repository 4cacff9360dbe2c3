#!/usr/bin/env bash
# The Autobahn cases outside compression, strict, on both sides.
#
#   scripts/autobahn.sh [server|events|client]      all unless told
#
# The PyPI package kosoku plays the peer. The verdict of every case must be the one in
# scripts/autobahn/expected.txt; any difference is listed and the exit status is 1. A report for
# the browser stays in .cache/autobahn/{server,events,client}/index.html. `events` is the server
# side once more, against the example event_echo.
#
# HYBI_BIN names another server than `target/release/hybi`, HYBI_CLIENT another client than the
# example autobahn_client. kosoku is installed into .cache/kosoku.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh

version=0.1.0
venv=.cache/kosoku
kosoku=$venv/bin/kosoku
reports=.cache/autobahn
# 12 and 13 are permessage-deflate, which does not exist yet. The list of cases is the same on
# both sides, so the fuzzing server leaves them out as well.
without=(-x '12.*' -x '13.*')
# A whole run takes seconds; this only ends one that hangs.
guard=(timeout --kill-after=10 300)

install() {
    if [ "$("$venv/bin/pip" show kosoku 2>/dev/null | sed -n 's/^Version: //p')" = "$version" ]; then return; fi
    rm -rf "$venv"
    if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet "kosoku==$version"; then
        echo "SKIPPED: kosoku==$version could not be installed from PyPI"
        exit 0
    fi
}

server_side() {
    echo "kosoku against hybi serve"
    build_server
    start_server "$reports/server.log"
    judge_server server
}

events_side() {
    echo "kosoku against the example event_echo"
    cargo build --release --quiet -p hybi --example event_echo
    server_port=$(free_port)
    start_on_port "$reports/events.log" "${CARGO_TARGET_DIR:-target}/release/examples/event_echo" "127.0.0.1:$server_port"
    judge_server events
}

# Runs the cases against the server that was started, and reports as $1.
judge_server() {
    # kosoku ends with 1 on FAILED and with 0 on NON-STRICT: its report is judged, not its status.
    "${guard[@]}" "$kosoku" -m fuzzingclient "127.0.0.1:$server_port/x" -o "$reports/$1" "${without[@]}" \
        >"$reports/$1-kosoku.log" 2>&1 </dev/null || echo "kosoku ended with status $?"
    if ! kill -0 "$server_pid" 2>/dev/null; then
        echo "the server died; it said:"
        tail -n 20 "$reports/$1.log"
        return 1
    fi
    end_started
    python3 scripts/autobahn/compare.py scripts/autobahn/expected.txt "$reports/$1/index.json"
}

client_side() {
    echo "the example autobahn_client against kosoku"
    local client=("${HYBI_CLIENT:-}") port="" peer status=0
    if [ -z "${HYBI_CLIENT:-}" ]; then
        cargo build --release --quiet -p hybi --example autobahn_client
        client=(cargo run --release --quiet -p hybi --example autobahn_client --)
    fi
    # The shell that starts in the background makes the file when it likes.
    : >"$reports/client-kosoku.log"
    "$kosoku" -m fuzzingserver 127.0.0.1:0 -o "$reports/client" "${without[@]}" \
        >"$reports/client-kosoku.log" 2>&1 </dev/null &
    peer=$!
    started+=("$peer")
    for _ in {1..300}; do
        port=$(sed -n 's|.*ws://127\.0\.0\.1:||p' "$reports/client-kosoku.log")
        [ -n "$port" ] && break
        sleep 0.1
    done
    "${guard[@]}" "${client[@]}" "ws://127.0.0.1:$port" >"$reports/client.log" 2>&1 </dev/null || status=$?
    # /updateReports makes kosoku write its report and end.
    timeout 10 tail --pid="$peer" -f /dev/null || echo "kosoku did not end: the client did not ask for /updateReports"
    end_started
    if [ "$status" -ne 0 ]; then
        echo "the client ended with status $status; it said:"
        tail -n 20 "$reports/client.log"
    fi
    python3 scripts/autobahn/compare.py scripts/autobahn/expected.txt "$reports/client/index.json" && [ "$status" -eq 0 ]
}

case ${1:-all} in
    server | events | client)
        mkdir -p "$reports"
        rm -rf "${reports:?}/$1"
        install
        "$1_side"
        ;;
    all)
        status=0
        for side in server events client; do
            bash scripts/autobahn.sh "$side" || status=1
        done
        exit "$status"
        ;;
    *)
        echo "usage: scripts/autobahn.sh [server|events|client]" >&2
        exit 2
        ;;
esac
