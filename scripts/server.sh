# shellcheck shell=bash
# Starts `hybi serve` for the scripts that source this file, and ends what they started.
#
# It does not judge anything. Sourced by other scripts from the root of the project,
# under `set -euo pipefail`. HYBI_BIN names another binary than the one it builds.

started=()

# Ends every process in `started`: politely, then not.
end_started() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do
        timeout 5 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    started=()
}
trap end_started EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Builds the server unless HYBI_BIN names one, and sets HYBI_BIN.
build_server() {
    [ -n "${HYBI_BIN:-}" ] && return
    cargo build --release --quiet -p hybi-cli
    HYBI_BIN=${CARGO_TARGET_DIR:-target}/release/hybi
}

# Prints a port that nobody listens on, from below the range that outgoing connections take.
free_port() {
    python3 - <<'PY'
import random, socket
for port in random.sample(range(10000, 32000), 100):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break
PY
}

# Starts the server with its output in the file $1 and the options that follow; sets server_pid
# and server_port.
start_server() {
    local log=$1
    shift
    server_port=$(free_port)
    start_on_port "$log" "$HYBI_BIN" serve --port "$server_port" "$@"
}

# Starts the command that follows the file $1 for its output, and waits until it listens on
# server_port; sets server_pid.
start_on_port() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    server_pid=$!
    started+=("$server_pid")
    for _ in {1..100}; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$server_port") 2>/dev/null; then return; fi
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server does not listen on port $server_port; it said:"
    cat "$log"
    return 1
}
