#!/usr/bin/env bash
# Checks the hand-over between senders, receiver and driver on schedules that shuttle draws.
# Arguments go to the test binary: `scripts/shuttle.sh halves::`.
#
# SHUTTLE_ITERATIONS is how many schedules each test tries, twice (default 6000).
set -euo pipefail
cd "$(dirname "$0")/.."

# Shuttle's reminder of what it does not check; sync/shuttle.rs tells it.
export SHUTTLE_SILENCE_WARNINGS=1
export RUSTFLAGS="${RUSTFLAGS:-} --cfg hybi_shuttle"
export CARGO_PROFILE_DEV_OPT_LEVEL="${CARGO_PROFILE_DEV_OPT_LEVEL:-1}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/shuttle"
exec cargo test -p hybi --lib -- "${@:-handover::}"
