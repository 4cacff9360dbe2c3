#!/usr/bin/env bash
# Which lines of hybi-proto its own tests run. Fails when they are fewer than 97 in a hundred.
#
#   scripts/coverage.sh            hybi-proto, held against the limit
#   scripts/coverage.sh CRATE      another crate of the workspace, which is only told
#
# A line of tests is no line of the crate: from `mod tests` on, a file is not counted. Of a generic
# function a line counts that ran for any type.
# cargo-llvm-cov is installed into .cache/cargo-llvm-cov.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.9.1
crate=${1:-hybi-proto} limit=0
if [ "$crate" = hybi-proto ]; then
    limit=97
fi
if [ $# -gt 1 ] || ! [ -d "crates/$crate/src" ]; then
    echo "usage: scripts/coverage.sh [CRATE]" >&2
    exit 2
fi
export PATH="$PWD/.cache/cargo-llvm-cov/bin:$PATH"
if [ "$(cargo llvm-cov --version 2>/dev/null)" != "cargo-llvm-cov $version" ]; then
    if ! cargo install cargo-llvm-cov --locked --quiet --version "$version" --root .cache/cargo-llvm-cov; then
        echo "SKIPPED: cargo-llvm-cov $version could not be installed"
        exit 0
    fi
fi
# What reads the counters has to be of the compiler's own LLVM.
tools=$(rustc --print target-libdir)/../bin
if [ ! -x "$tools/llvm-profdata" ] && ! rustup component add llvm-tools; then
    echo "SKIPPED: the component llvm-tools of rustup could not be installed"
    exit 0
fi

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/coverage"
# Debug info would only take time. Optimized code would run faster, but of a function that rustc puts
# into the crate of its caller too, llvm-cov sees now the one and now the other.
export CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_OPT_LEVEL=0
# A property that is tried with fewer cases runs the same lines.
export PROPTEST_CASES="${PROPTEST_CASES:-64}"
report=$CARGO_TARGET_DIR/$crate.lcov
log=$CARGO_TARGET_DIR/$crate.log
mkdir -p "$CARGO_TARGET_DIR"
if ! timeout --kill-after=10 15m cargo llvm-cov --locked --package "$crate" --lib --tests \
    --lcov --output-path "$report" >"$log" 2>&1 </dev/null; then
    grep -vE '^test .* ok$' "$log" | tail -n 60
    exit 1
fi

# A file's counters lie between SF, its name, and end_of_record.
awk -F '[:,]' -v crates="$PWD/crates/" -v of="$crate/src/" -v limit="$limit" '
    $1 == "SF" {
        file = substr($0, 4)
        skip = index(file, crates of) != 1
        name = substr(file, length(crates of) + 1)
        delete text
        end = 0
        for (n = 1; !skip && (getline line < file) > 0; n++) {
            text[n] = line
            if (line ~ /^mod tests \{/) { end = n }
        }
        close(file)
        lines = ran = 0
        missing = ""
    }
    $1 == "DA" && !skip && (!end || $2 < end) {
        lines++
        if ($3 > 0) { ran++ } else { missing = missing sprintf("%32s %s\n", $2, text[$2]) }
    }
    $1 == "end_of_record" && !skip && lines {
        printf "%-28s %5d of %5d  %6.2f %%\n", name, ran, lines, 100 * ran / lines
        if (100 * ran < 97 * lines) { below = below "\n" name "\n" missing }
        all += lines
        all_ran += ran
    }
    END {
        if (!all) { print "no line of " of " was counted"; exit 1 }
        if (below) { print "\nlines that no test runs, of the files below 97 %:" below }
        share = 100 * all_ran / all
        printf "%s: %d of %d lines, %.2f %%", of, all_ran, all, share
        if (limit) { printf "; the limit is %d %%", limit }
        print ""
        exit share < limit
    }
' "$report"
