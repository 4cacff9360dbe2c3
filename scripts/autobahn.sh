#!/usr/bin/env bash
# The Autobahn cases, strict, on both sides.
#
#   scripts/autobahn.sh [full|quick|original] [server|events|client]
#
# full, unless told, is all 517 cases by the PyPI package kosoku. quick leaves out those of
# permessage-deflate that take long and differ from others in their data or in a parameter: 12.2 to
# 12.5, 13.2 and 13.5 to 13.7. original is all 517 by the PyPI package autobahntestsuite, which
# kosoku is made after; it needs Python 2.7, and PYTHON2 names the interpreter if it is not found.
#
# The sides are all three unless told; `events` is the server side once more, against the example
# event_echo. The verdict of every case must be the one in scripts/autobahn/expected.txt; any
# difference is listed and the exit status is 1. A report for the browser stays in
# .cache/autobahn/{full,quick,original}/{server,events,client}/index.html.
#
# HYBI_BIN names another server than `target/release/hybi`, HYBI_CLIENT another client than the
# example autobahn_client. The suites are installed into .cache.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh

usage() {
    echo "usage: scripts/autobahn.sh [full|quick|original] [server|events|client]" >&2
    exit 2
}

cases=full
case ${1:-} in
    full | quick | original)
        cases=$1
        shift
        ;;
esac
case ${1:-} in
    '') sides=(server events client) ;;
    server | events | client) sides=("$1") ;;
    *) usage ;;
esac
[ $# -le 1 ] || usage

reports=.cache/autobahn/$cases
without=()
if [ "$cases" = quick ]; then without=(12.{2..5}.\* 13.{2,5,6,7}.\*); fi
# A side takes minutes; this only ends one that hangs.
guard=(timeout --kill-after=10 1800)

if [ "$cases" = original ]; then
    source scripts/autobahn/original.sh
else
    source scripts/autobahn/kosoku.sh
fi

server_side() {
    echo "$suite against hybi serve"
    build_server
    # kosoku fails to read an answer to 13.* that is not compressed.
    start_server "$reports/server.log" --deflate --deflate-threshold 0
    judge_server server
}

events_side() {
    echo "$suite against the example event_echo"
    cargo build --release --quiet -p hybi --example event_echo
    server_port=$(free_port)
    start_on_port "$reports/events.log" "${CARGO_TARGET_DIR:-target}/release/examples/event_echo" "127.0.0.1:$server_port" deflate
    judge_server events
}

# Runs the cases against the server that was started, and reports as $1.
judge_server() {
    # What the suite says of the server is in its report, not in its status.
    run_client "$reports/$1" >"$reports/$1-suite.log" 2>&1 </dev/null || echo "$suite ended with status $?"
    if ! kill -0 "$server_pid" 2>/dev/null; then
        echo "the server died; it said:"
        tail -n 20 "$reports/$1.log"
        return 1
    fi
    end_started
    compare "$1"
}

client_side() {
    echo "the example autobahn_client against $suite"
    local client=("${HYBI_CLIENT:-}") status=0
    if [ -z "${HYBI_CLIENT:-}" ]; then
        cargo build --release --quiet -p hybi --example autobahn_client
        client=("${CARGO_TARGET_DIR:-target}/release/examples/autobahn_client")
    fi
    server_port=$(free_port)
    # Sets server_pid.
    start_suite "$reports/client" "$reports/client-suite.log"
    "${guard[@]}" "${client[@]}" "ws://127.0.0.1:$server_port" "${client_options[@]}" \
        >"$reports/client.log" 2>&1 </dev/null || status=$?
    end_suite
    end_started
    if [ "$status" -ne 0 ]; then
        echo "the client ended with status $status; it said:"
        tail -n 20 "$reports/client.log"
    fi
    compare client && [ "$status" -eq 0 ]
}

compare() {
    python3 scripts/autobahn/compare.py scripts/autobahn/expected.txt "$reports/$1/index.json" "${without[@]}"
}

if [ ${#sides[@]} -gt 1 ]; then
    status=0
    for side in "${sides[@]}"; do
        bash scripts/autobahn.sh "$cases" "$side" || status=1
    done
    exit "$status"
fi
mkdir -p "$reports"
rm -rf "${reports:?}/${sides[0]}"
install_suite
"${sides[0]}_side"
