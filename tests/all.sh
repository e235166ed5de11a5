#!/usr/bin/env bash
# Runs every check and every test, says how each step ended, and sums the tests truthfully.
# Ends with one line, `N passed, N failed, N skipped`, where skipped is ignored with a reason that is printed above it,
# and with 0 only if nothing failed.
# An ignored test without a reason counts as failed, and so does a step that did not get to its tests.
set -u -o pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/test-logs
rm -rf "$logs"; mkdir -p "$logs"
broken=()

step() { # step NAME COMMAND..: runs it, keeps its output, remembers its failure
  local name=$1; shift
  local begun=$SECONDS
  printf '== %s\n' "$name"
  if "$@" >"$logs/$name" 2>&1; then
    printf '   ok, %s s\n' $((SECONDS - begun))
  else
    broken+=("$name")
    printf '   FAILED, %s s; the last of %s:\n' $((SECONDS - begun)) "$logs/$name"
    tail -n 150 "$logs/$name"
  fi
}

product=(-p orchestrator -p proxy -p netctl --bins)
export RUSTDOCFLAGS='-D warnings' OCS_BIN_DIR=$target/debug OCS_AGENT_DIR=$target/agent
step fmt cargo fmt --all --check
step clippy cargo clippy --workspace --all-targets -- -D warnings
step doc cargo doc --workspace --no-deps --document-private-items
step unit cargo test --workspace --exclude tests --no-fail-fast
step build cargo build "${product[@]}"
step worlds cargo test -p tests --no-fail-fast
step bench-check bench/check.sh

tests=("$logs/unit" "$logs/worlds" "$logs/bench-check")
sum() { # sum COLUMN-NAME: over all `test result:` lines
  grep -ah '^test result:' "${tests[@]}" | grep -oE "[0-9]+ $1" | awk '{n += $1} END {print n + 0}'
}
passed=$(sum passed) failed=$(sum failed)
reasoned=$(grep -ahE '^test .* \.\.\. ignored, .+' "${tests[@]}" | tee "$logs/ignored" | wc -l)
bare=$(grep -ahcE '^test .* \.\.\. ignored$' "${tests[@]}" | awk '{n += $1} END {print n + 0}')
if [ "$bare" -gt 0 ]; then broken+=("$bare ignored without a reason"); fi

echo
if [ -s "$logs/measured.tsv" ]; then
  echo "measured, not asserted (ms: count, median, worst):"
  sed 's/ ms$//' "$logs/measured.tsv" | sort -t$'\t' -k1,1 -k3,3n | awk -F'\t' '
    $1 != suite {show(); suite = $1; n = 0} {took[n++] = $3}
    function show() { if (n) printf "  %-28s %4d %6d %6d\n", suite, n, took[int(n / 2)], took[n - 1] }
    END {show()}'
fi
if [ "$reasoned" -gt 0 ]; then echo "ignored:"; cat "$logs/ignored"; fi
if [ "${#broken[@]}" -gt 0 ]; then echo "steps that failed: ${broken[*]}"; fi
echo "$passed passed, $((failed + bare)) failed, $reasoned skipped"
[ "$failed" -eq 0 ] && [ "${#broken[@]}" -eq 0 ] && [ "$passed" -gt 0 ]
