#!/usr/bin/env bash
# How many instructions it takes to read and to write a message.
#
#   scripts/instructions.sh            compares with crates/hybi-proto/benches/instructions.txt
#   scripts/instructions.sh --write    writes that file anew
#
# callgrind counts what crates/hybi-proto/benches/instructions.rs does, on the portable path and
# with the plainest memcpy, so that another CPU gives the same. The exit status is 1 when a figure
# has grown by more than a tenth. One that shrank for good is worth a --write, so that it stays so.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
"" | --write) ;;
*)
    echo "usage: scripts/instructions.sh [--write]" >&2
    exit 2
    ;;
esac
known=crates/hybi-proto/benches/instructions.txt
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "SKIPPED: the figures are of Linux on x86_64"
    exit 0
fi
if ! command -v valgrind >/dev/null; then
    sudo=() && [ "$(id -u)" = 0 ] || sudo=(sudo --non-interactive)
    timeout 300 "${sudo[@]}" apt-get install -y --no-install-recommends valgrind >/dev/null 2>&1 || true
fi
if ! command -v valgrind >/dev/null; then
    echo "SKIPPED: valgrind is not installed and could not be fetched"
    exit 0
fi

export RUSTFLAGS="--cfg hybi_scalar" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/scalar"
export CARGO_PROFILE_RELEASE_OPT_LEVEL=3 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
export CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_DEBUG=false
cargo build --release --quiet -p hybi-proto --example instructions
program=$CARGO_TARGET_DIR/release/examples/instructions
version="rustc $(rustc --version | cut -d ' ' -f 2)"

# The instructions of one run. glibc chooses its memcpy by the CPU; here it must not.
count() {
    GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load \
        timeout 120 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 |
        sed -n 's/.* Collected : \([0-9]*\)$/\1/p'
}

measured=$(
    "$program" | while read -r name messages; do
        rounds=$((messages > 1 ? 1000 : 40))
        some=$(count "$name" "$rounds")
        none=$(count "$name" 0)
        echo "$name $(((some - none) / (rounds * messages)))"
    done
)
if [ "${1:-}" = --write ]; then
    {
        echo "# Instructions a message, written by scripts/instructions.sh --write"
        echo "$version"
        echo "$measured"
    } >"$known"
    cat "$known"
    exit
fi

if ! grep -qx "$version" "$known"; then
    echo "$known was written with $(grep '^rustc ' "$known"), and this is $version:"
    echo "another compiler counts differently; what grew may not be yours."
fi
failed=0
while read -r name now; do
    was=$(sed -n "s/^$name //p" "$known")
    if [ -z "$was" ]; then
        verdict="new: scripts/instructions.sh --write" failed=1
    elif [ $((now * 10)) -gt $((was * 11)) ]; then
        verdict="MORE THAN A TENTH ABOVE" failed=1
    else
        verdict=$((100 * now / was))%
    fi
    printf '%-24s %8d   was %8s   %s\n' "$name" "$now" "${was:--}" "$verdict"
done <<<"$measured"
if [ "$failed" = 1 ]; then
    echo "if that is what it has to cost, say so in the commit and run scripts/instructions.sh --write"
fi
exit "$failed"
