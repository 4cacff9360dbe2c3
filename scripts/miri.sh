#!/usr/bin/env bash
# Runs the unit tests of hybi-proto, where all unsafe code of hybi is, under Miri; those of masking
# and framing also as on a machine of 32 bits whose byte order is the other one.
# Arguments go to the test binary: `scripts/miri.sh mask::`.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${MIRI_TOOLCHAIN:-nightly}
if ! cargo "+$toolchain" miri --version >/dev/null 2>&1; then
    if ! rustup component add --toolchain "$toolchain" miri rust-src; then
        echo "SKIPPED: Miri is not installed for '$toolchain' and could not be fetched"
        exit 0
    fi
fi

# Failing inputs are written beside the source, which needs the isolation off; Miri is some
# hundred times slower than the machine, so that a few cases of each property must do.
export MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation -Zmiri-strict-provenance}"
# A backtrace costs Miri minutes.
export RUST_BACKTRACE=0
export PROPTEST_CASES="${PROPTEST_CASES:-4}"
export PROPTEST_MAX_SHRINK_ITERS="${PROPTEST_MAX_SHRINK_ITERS:-0}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri"
run() {
    cargo "+$toolchain" miri test --quiet -p hybi-proto --lib "$@"
}
if [ $# -gt 0 ]; then
    run -- "$@"
    exit
fi
# Miri has one thread: every second test goes to another one.
tests=()
mapfile -t tests < <(run -- --list --format terse | sed -n 's/: test$//p')
one=() two=()
for at in "${!tests[@]}"; do
    if ((at % 2)); then one+=("${tests[at]}"); else two+=("${tests[at]}"); fi
done
if [ ${#one[@]} -eq 0 ]; then
    echo "no tests are listed"
    exit 1
fi
run -- --exact "${one[@]}" &
other=$! status=0
run -- --exact "${two[@]}" || status=$?
run --target powerpc-unknown-linux-gnu -- mask:: frame:: encoder:: text:: || status=$?
wait "$other" || status=$?
exit "$status"
