# shellcheck shell=bash
# The peers of interop.sh and proxies.sh: how each is installed and called, and a try of two of them.
#
# It does not judge anything; lines.py does. Sourced from the root of the project, after server.sh.
# HYBI_INTEROP names another binary than the one it builds. The versions are in package.json and
# requirements.txt; what is Debian's is of Debian's version.

peers_folder=$PWD/.cache/interop
export NODE_PATH=$peers_folder/node/node_modules
# No __pycache__ beside the scripts.
export PYTHONDONTWRITEBYTECODE=1
python=$peers_folder/python/bin/python
# A program that serves and connects as scripts/interop/ws.js does.
declare -A program=(
    [hybi]="${HYBI_INTEROP:-${CARGO_TARGET_DIR:-target}/release/hybi-interop}"
    [ws]="node scripts/interop/ws.js"
    [undici]="node scripts/interop/undici.js"
    [websockets]="$python scripts/interop/websockets_peer.py"
    [aiohttp]="$python scripts/interop/aiohttp_peer.py"
    [picows]="$python scripts/interop/picows_peer.py"
    [websocket-client]="$python scripts/interop/websocket_client_peer.py"
    [chromium]="node scripts/interop/chromium.js"
)
# A try takes seconds; this only ends one that hangs.
try_guard=(timeout --kill-after=10 400)

build_hybi_interop() {
    [ -n "${HYBI_INTEROP:-}" ] || cargo build --release --quiet -p hybi-interop
}

# The functions that install print why they could not, and are then false.

install_node() {
    local folder=$peers_folder/node
    if cmp -s scripts/interop/package.json "$folder/installed.json"; then return; fi
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "SKIPPED: $1 needs Node.js and npm"
        return 1
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    cp scripts/interop/package.json "$folder/package.json"
    if ! npm install --silent --no-audit --no-fund --prefix "$folder"; then
        echo "SKIPPED: $1 could not be installed from npm"
        return 1
    fi
    cp scripts/interop/package.json "$folder/installed.json"
}

install_python() {
    local folder=$peers_folder/python
    if cmp -s scripts/interop/requirements.txt "$folder/installed.txt"; then return; fi
    rm -rf "$folder"
    if ! python3 -m venv "$folder" || ! "$folder/bin/pip" install --quiet --no-deps -r scripts/interop/requirements.txt; then
        echo "SKIPPED: $1 could not be installed from PyPI"
        return 1
    fi
    cp scripts/interop/requirements.txt "$folder/installed.txt"
}

# Installs the Debian package $1, whose command has that name, and starts nothing.
install_debian() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "SKIPPED: needs $1, which only root can install"
        return 1
    fi
    local policy=/usr/sbin/policy-rc.d made='' log=$peers_folder/apt-$1.log installed=true
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=$policy
    fi
    apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }
    { apt_get install --yes --no-install-recommends "$1" ||
        { apt_get update && apt_get install --yes --no-install-recommends "$1"; }; } >"$log" 2>&1 || installed=false
    if [ -n "$made" ]; then rm "$made"; fi
    "$installed" && return
    tail -n 3 "$log"
    echo "SKIPPED: $1 could not be installed"
    return 1
}

install_peer() {
    case $1 in
        ws | undici) install_node "$1" ;;
        chromium) install_node "$1" && install_debian chromium ;;
        *) install_python "$1" ;;
    esac
}

# Starts the peer $1 as a server on the port $2, with its output in the file $3.
serve() {
    local command where=$2
    read -ra command <<<"${program[$1]}"
    if [ "$1" = hybi ]; then where=127.0.0.1:$2; fi
    server_port=$2
    start_on_port "$3" "${command[@]}" serve "$where"
}

# Has the client $1 try its lines with the server $2 at the URL $3, whose output is in the file $4;
# the name of what is between the two is $5.
try_peers() {
    local command name=$1-$2${5:+-$5} status=0
    local lines=$peers_folder/logs/$name.lines became=$peers_folder/logs/$name.log errors=$peers_folder/logs/$name.err
    read -ra command <<<"${program[$1]}"
    python3 scripts/interop/lines.py list "$1" "$2" ${5:+"$5"} >"$lines"
    "${try_guard[@]}" "${command[@]}" connect "$3" <"$lines" >"$became" 2>"$errors" ||
        echo "$1 ended with status $?: $(tail -n 3 "$errors")"
    python3 scripts/interop/lines.py judge "$1" "$2" "$4" ${5:+"$5"} <"$became" || status=1
    return "$status"
}
