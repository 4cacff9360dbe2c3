#!/usr/bin/env bash
# Proves that hybi-proto does no I/O by what it depends on, with every feature and on every target.
#
#   scripts/tree.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints those dependencies of the package $1 that wait, open sockets or draw random numbers.
io_of() {
    cargo tree -p "$1" -e normal,build --all-features --target all --prefix none --format '{p}' |
        awk '$1 ~ /^(tokio|tokio-.*|mio|socket2|async-io|smol|hyper|rustls|rand|getrandom)$/ { print $1 }' | sort -u
}

found=$(io_of hybi-proto)
if [ -n "$found" ]; then
    echo "hybi-proto must not depend on: ${found//$'\n'/ }"
    echo "cargo tree -p hybi-proto -e normal -i NAME shows who brings it"
    exit 1
fi
# The same question must find tokio where it belongs, or it would find it nowhere.
if ! io_of hybi | grep -qx tokio; then
    echo "tokio was not found in hybi, so its absence from hybi-proto proves nothing"
    exit 1
fi
echo "nothing in hybi-proto depends on tokio or does I/O"
