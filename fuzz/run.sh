#!/usr/bin/env bash
# Runs every target, or those that are named, for FUZZ_SECONDS each, one after the other; says what each came to, and
# fails if one of them found something. What it found lies in fuzz/artifacts, each log in target/fuzz-logs.
set -eu -o pipefail
cd "$(dirname "$0")"
seconds=${FUZZ_SECONDS:-60}
logs=${FUZZ_LOGS:-../target/fuzz-logs}
mkdir -p "$logs"

# The sanitizer and the coverage are flags of an unstable compiler: a nightly one, or the stable one told that it may.
if rustup run nightly rustc --version >/dev/null 2>&1; then fuzz=(cargo +nightly fuzz); else
  export RUSTC_BOOTSTRAP=1
  fuzz=(cargo fuzz)
fi

cargo test --quiet --lib
cargo run --quiet --bin seeds
"${fuzz[@]}" build --features engine
[ $# -gt 0 ] || mapfile -t -O 0 all < <("${fuzz[@]}" list)
broken=()
printf '%-16s %12s %10s %10s %8s\n' target executions per-second coverage corpus
for target in "${@:-${all[@]}}"; do
  if "${fuzz[@]}" run --features engine "$target" -- -max_total_time="$seconds" -timeout=10 -max_len=8192 \
    -print_final_stats=1 >"$logs/$target.log" 2>&1; then result=; else result='  FOUND, see the log'; broken+=("$target"); fi
  final() { sed -n "s/^stat::$1: *//p" "$logs/$target.log" | tail -1; }
  last=$(grep -aE '^#[0-9]+.*cov: ' "$logs/$target.log" | tail -1)
  printf '%-16s %12s %10s %10s %8s%s\n' "$target" "$(final number_of_executed_units)" "$(final average_exec_per_sec)" \
    "$(sed -E 's/.*cov: ([0-9]+).*/\1/' <<<"$last")" "$(sed -E 's/.*corp: ([0-9]+).*/\1/' <<<"$last")" "$result"
done
[ "${#broken[@]}" -eq 0 ] || { echo "found something: ${broken[*]} (logs in $logs)" >&2; exit 1; }
