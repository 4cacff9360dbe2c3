#!/usr/bin/env bash
# Every check of the project, each a name and one command.
#
#   scripts/check.sh              all, in this order
#   scripts/check.sh NAME...      only these
#   scripts/check.sh --list       the names and their commands
#
# A part that cannot run here prints a line `SKIPPED: why` and counts as neither passed nor failed.
# The exit status is 1 when a part failed. The whole of what a part said is in .cache/check/NAME.log.
set -euo pipefail
cd "$(dirname "$0")/.."

names=(test scalar bare fmt clippy features docs tree package shuttle miri autobahn interop proxies fuzz idle instructions)
declare -A commands=(
    [test]="cargo test --workspace"
    [scalar]="RUSTFLAGS='--cfg hybi_scalar' CARGO_TARGET_DIR=target/scalar cargo test -p hybi-proto"
    [bare]="cargo test -p hybi-proto --no-default-features"
    [fmt]="cargo fmt --all --check"
    [clippy]="cargo clippy --workspace --all-targets --all-features -- -D warnings"
    [features]="bash scripts/features.sh"
    [docs]="RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace --all-features"
    [tree]="bash scripts/tree.sh"
    [package]="bash scripts/package.sh"
    [shuttle]="bash scripts/shuttle.sh"
    [miri]="bash scripts/miri.sh"
    [autobahn]="bash scripts/autobahn.sh quick"
    [interop]="bash scripts/interop.sh"
    [proxies]="bash scripts/proxies.sh"
    [fuzz]="bash scripts/fuzz.sh 10"
    [idle]="bash scripts/idle.sh"
    [instructions]="bash scripts/instructions.sh"
)
# For a part that hangs; none comes near it.
guard=(timeout --kill-after=10 20m)

if [ "${1:-}" = --list ]; then
    for name in "${names[@]}"; do printf '%-12s %s\n' "$name" "${commands[$name]}"; done
    exit
fi
wanted=("${@:-${names[@]}}")
for name in "${wanted[@]}"; do
    if [ -z "${commands[$name]:-}" ]; then
        echo "scripts/check.sh: no check is called '$name'; there are ${names[*]}" >&2
        exit 2
    fi
done

mkdir -p .cache/check
passed=0 failed=() skipped=() times=()
for name in "${wanted[@]}"; do
    log=.cache/check/$name.log
    printf '\n== %s: %s\n' "$name" "${commands[$name]}"
    start=$SECONDS
    if "${guard[@]}" bash -c "${commands[$name]}" </dev/null 2>&1 | tee "$log"; then
        if grep -q '^SKIPPED: ' "$log"; then
            result=skipped
            while read -r _ why; do skipped+=("$name: $why"); done < <(grep '^SKIPPED: ' "$log" | sort -u)
        else
            result=passed
            passed=$((passed + 1))
        fi
    else
        result=failed
        failed+=("$name")
    fi
    times+=("$(printf '%-12s %4d s  %s' "$name" $((SECONDS - start)) "$result")")
    echo "== ${times[-1]}"
done

printf '\ntime of each part:\n'
printf '  %s\n' "${times[@]}" "$(printf '%-12s %4d s' total "$SECONDS")"
echo "skipped:"
if [ ${#skipped[@]} -eq 0 ]; then echo "  nothing"; else printf '  %s\n' "${skipped[@]}"; fi
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; fi
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
