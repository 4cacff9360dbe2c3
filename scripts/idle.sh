#!/usr/bin/env bash
# What an idle connection costs the server.
#
#   scripts/idle.sh
#
# Prints by how many bytes the RSS of `hybi serve` grows with each connection between 1,000 and
# 10,000 idle ones, on a fresh server each time: first after the handshake alone, then after one
# echo of 1 KiB on every connection, then with a heartbeat, after every client has answered a ping.
# The server keeps track of its clients, as it does by default. The exit status is 1 at 1600 bytes
# or more. The connections are made by idle.py, in a process of its own. HYBI_BIN names another
# server than the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/server.sh

ulimit -Sn "$(ulimit -Hn)"
if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt 10200 ]; then
    echo "SKIPPED: 10,000 connections need a limit of 10,200 descriptors; the hard limit is $(ulimit -n)"
    exit 0
fi
mkdir -p .cache
build_server
failed=0
for after in handshake echo heartbeat; do
    options=()
    # While 10,000 connections are opened, nobody answers.
    if [ "$after" = heartbeat ]; then options=(--heartbeat 10 --heartbeat-timeout 60); fi
    start_server .cache/idle-server.log "${options[@]}"
    timeout --kill-after=10 120 python3 scripts/idle.py "$server_port" "$server_pid" "$after" </dev/null || failed=1
    end_started
done
exit "$failed"
