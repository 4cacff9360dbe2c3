#!/usr/bin/env bash
# All tests under Address Sanitizer, which also finds what leaks: scripts/asan.sh [FILTER]
# By hand, for it takes a quarter of an hour. What the tests of `load` measure, the sanitizer
# itself takes: they stay out. So do examples in the docs.
set -euo pipefail
cd "$(dirname "$0")/.."

target="$(rustc -vV | sed -n 's/^host: //p')"
if ! rustup run nightly rustc --version >/dev/null 2>&1; then
    echo "SKIPPED: asan: the nightly toolchain is not installed"
    exit 0
fi

# These forget on purpose what they test.
suppressions="$(mktemp)"
trap 'rm -f "$suppressions"' EXIT
printf 'leak:%s\n' was_forgotten forgets_its_writer dropped_or_forgotten >"$suppressions"

export RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan
export ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS="suppressions=$suppressions"
test=(timeout 3600 cargo +nightly test --target "$target")
cargo +nightly build --target "$target" -p hybi --examples # which a test runs
"${test[@]}" -p hybi -p hybi-proto --lib --tests -- "$@"
"${test[@]}" -p hybi-cli --bins --test cli -- "$@"
