#!/usr/bin/env bash
# Every check of the project, each a name and one command.
#
#   scripts/check.sh              all, in two rows side by side
#   scripts/check.sh NAME...      only these, one after the other
#   scripts/check.sh --list       the names and their commands
#
# A part that cannot run here prints a line `SKIPPED: why` and counts as neither passed nor failed.
# The exit status is 1 when a part failed. The whole of what a part said is in .cache/check/NAME.log.
set -euo pipefail
cd "$(dirname "$0")/.."

# What builds in target/debug keeps two cores busy; the second row starts programs, builds in
# target/release and beside, and mostly waits.
rows=(
    "test clippy scalar bare coverage fmt features docs tree deny package miri"
    "autobahn interop fuzz soak idle instructions shuttle systems"
)
declare -A commands=(
    [test]="cargo test --workspace"
    [scalar]="RUSTFLAGS='--cfg hybi_scalar' CARGO_TARGET_DIR=target/scalar cargo test -p hybi-proto"
    [bare]="cargo test -p hybi-proto --no-default-features"
    [coverage]="bash scripts/coverage.sh"
    [fmt]="cargo fmt --all --check"
    [clippy]="cargo clippy --workspace --all-targets --all-features -- -D warnings"
    [features]="bash scripts/features.sh"
    [systems]="bash scripts/systems.sh"
    [docs]="RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace --all-features"
    [tree]="bash scripts/tree.sh"
    [deny]="bash scripts/deny.sh"
    [package]="bash scripts/package.sh"
    [shuttle]="bash scripts/shuttle.sh"
    [miri]="bash scripts/miri.sh"
    [autobahn]="bash scripts/autobahn.sh quick"
    [interop]="bash scripts/interop.sh"
    [fuzz]="bash scripts/fuzz.sh 20"
    [soak]="bash scripts/soak.sh 60"
    [idle]="bash scripts/idle.sh"
    [instructions]="bash scripts/instructions.sh"
)
# For a part that hangs; none comes near it.
guard=(timeout --kill-after=10 30m)

read -ra names <<<"${rows[*]}"
if [ "${1:-}" = --list ]; then
    for name in "${names[@]}"; do printf '%-12s %s\n' "$name" "${commands[$name]}"; done
    exit
fi
for name in "$@"; do
    if [ -z "${commands[$name]:-}" ]; then
        echo "scripts/check.sh: no check is called '$name'; there are ${names[*]}" >&2
        exit 2
    fi
done

logs=.cache/check
mkdir -p "$logs"
title() { printf '\n== %s: %s\n' "$1" "${commands[$1]}"; }

# Runs a part, and leaves its result and its time beside its log.
run() {
    local name=$1 log=$logs/$1.log start=$SECONDS result=passed
    if ! "${guard[@]}" bash -c "${commands[$name]}" </dev/null 2>&1 | tee "$log"; then
        result=failed
    elif grep -q '^SKIPPED: ' "$log"; then
        result=skipped
    fi
    echo "$result $((SECONDS - start))" >"$logs/$name.result"
}
# Runs parts one after the other, and shows what each said once it has ended.
run_row() {
    local name
    for name in "$@"; do
        run "$name" >/dev/null
        flock 9
        title "$name"
        cat "$logs/$name.log"
        echo "== $name: $(<"$logs/$name.result") s"
        flock -u 9
    done 9>"$logs/lock"
}

for name in "${names[@]}"; do rm -f "$logs/$name.result"; done
if [ $# -gt 0 ]; then
    names=("$@")
    for name in "$@"; do
        title "$name"
        run "$name"
    done
else
    # What runs in the background does not hear Ctrl-C.
    trap 'kill $(jobs -p) $(pgrep -P "$(jobs -p | paste -sd,)"); exit 130' INT TERM
    for row in "${rows[@]}"; do
        # shellcheck disable=SC2086 # the names of a row are words
        run_row $row &
    done
    wait
fi

passed=0 failed=() skipped=()
printf '\ntime of each part:\n'
for name in "${names[@]}"; do
    read -r result time 2>/dev/null <"$logs/$name.result" || result=failed time=0
    printf '  %-12s %4d s  %s\n' "$name" "$time" "$result"
    case $result in
    passed) passed=$((passed + 1)) ;;
    failed) failed+=("$name") ;;
    skipped) while read -r _ why; do skipped+=("$name: $why"); done < <(grep '^SKIPPED: ' "$logs/$name.log" | sort -u) ;;
    esac
done
printf '  %-12s %4d s\n' total "$SECONDS"
echo "skipped:"
if [ ${#skipped[@]} -eq 0 ]; then echo "  nothing"; else printf '  %s\n' "${skipped[@]}"; fi
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; fi
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
