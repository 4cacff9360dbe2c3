#!/usr/bin/env bash
# clippy on the libraries with each of their features alone, with none and with all.
#
#   scripts/features.sh [DEPTH]
#
# With a DEPTH, every set of so many features; 2 takes minutes, and is for releases. cargo-hack is
# installed into .cache/cargo-hack.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.6.46
sets=(--each-feature)
if [ $# -gt 0 ]; then sets=(--feature-powerset --depth "$1"); fi
export PATH="$PWD/.cache/cargo-hack/bin:$PATH"
if [ "$(cargo hack --version 2>/dev/null)" != "cargo-hack $version" ]; then
    if ! cargo install cargo-hack --locked --quiet --version "$version" --root .cache/cargo-hack; then
        echo "SKIPPED: cargo-hack $version could not be installed"
        exit 0
    fi
fi
cargo hack clippy --quiet -p hybi-proto -p hybi "${sets[@]}" -- -D warnings
