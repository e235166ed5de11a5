#!/usr/bin/env bash
# battery.sh [PEER]: every case of the escape catalogue against ocs, or the proxy's own sections against a peer; shows the
# table and writes docs/battery.md. Fails where a case of ours failed; how a peer does is only shown.
set -u -o pipefail
cd "$(dirname "$0")/.."
peer=${1-}
target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/battery
export OCS_BIN_DIR=$target/debug RUST_BACKTRACE=0
mkdir -p "$logs"
cargo build -q -p orchestrator -p proxy -p netctl --bins && cargo build -q -p tests --bins || exit 1

run() { # run LOG ARGUMENTS..: cargo test, its output kept
  cargo test --no-fail-fast "${@:2}" >"$logs/$1.log" 2>&1
}

if [ -n "$peer" ]; then
  rm -f "$logs/notes-$peer.tsv"
  sections=(names literals dns http connect)
  OCS_BATTERY_PEER=$peer run "$peer" -p tests "${sections[@]/#/--test=escape_}" -- as_an_ordinary_user
else
  rm -f "$logs/notes-native.tsv"
  run ours -p tests --test 'escape_*'
  run proxy -p proxy
  # Cases that older suites hold under names of their own: tests/escapes.tsv says which.
  run elsewhere -p tests --test fence --test capture --test record
  run netctl -p netctl
  # netctl names its tests by clauses (n10_..), which are no ids of the catalogue.
  grep -E '^test (.*::)?n1_a_namespace_without|^test (.*::)?n10_whichever|^test (.*::)?n11_the_holder' "$logs/netctl.log" |
    sed -E 's/^test (.*::)?(n1[01]?)_/test \1clause::\2_/' >"$logs/clauses.log"
fi
available=()
for log in ours proxy elsewhere; do [ -e "$logs/$log.log" ] && available+=("$logs/$log.log"); done
[ -e "$logs/clauses.log" ] && available+=("$logs/clauses.log")
"$target/debug/battery" --doc docs/battery.md "${available[@]}"
