#!/usr/bin/env bash
# Builds each crate from what would be published.
#
# In a folder of its own each time: cargo keeps what it unpacked for a version and a path, and
# would build the next crate against the sources of the last run.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo package --workspace --exclude hybi-interop --allow-dirty --quiet --target-dir "$folder"
