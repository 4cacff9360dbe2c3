#!/usr/bin/env bash
# Asks cargo-deny whether the dependencies are what deny.toml says: licenses, duplicates, sources
# and advisories, by the database of RustSec on GitHub.
#
#   scripts/deny.sh
#
# Each dependency of what is published says in its line why it is there, which is looked for, too.
# Where the database cannot be fetched a line says so, and the other three are checked.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
export PATH="$PWD/.cache/cargo-deny/bin:$PATH"
if [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
    if ! cargo install cargo-deny --locked --quiet --version "$version" --root .cache/cargo-deny; then
        echo "SKIPPED: cargo-deny $version could not be installed"
        exit 0
    fi
fi

unexplained=$(awk '/^\[/ { list = /dependencies/ } list && /^[a-z]/ && !/#/ { print FILENAME ": " $1 }' crates/*/Cargo.toml)
if [ -n "$unexplained" ]; then
    echo "no line says why it is there: ${unexplained//$'\n'/, }"
    exit 1
fi
cargo deny check bans licenses sources
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny check advisories
else
    echo "advisories were not checked: RustSec's database could not be fetched from GitHub"
fi
