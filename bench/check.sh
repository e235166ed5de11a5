#!/usr/bin/env bash
# Counts the instructions of the hot paths (bench/hot, under callgrind) and compares: more than 5 % above the base fails.
#   bench/check.sh          with bench/baseline.tsv; if that was counted by another compiler, with the commit that wrote it
#   bench/check.sh COMMIT   with that commit, built here
#   bench/check.sh --renew  writes bench/baseline.tsv: for a slower path that is meant, and after a change of compiler
# Prints a line per path in the form of cargo test, so that tests/all.sh sums them.
set -eu -o pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
baseline=bench/baseline.tsv
compiler=$(rustc --version)
command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind" >&2; exit 69; }

count() { # count PROGRAM: per path, its name and instructions of a thousand times
  local out=$target/hot.callgrind work
  for work in $("$1"); do
    valgrind --quiet --tool=callgrind --callgrind-out-file="$out" --collect-atstart=no \
      '--toggle-collect=hot::measured*' "$1" "$work"
    printf '%s\t%s\n' "$work" "$(sed -n 's/^totals: *//p' "$out")"
  done
}

built() { # built DIRECTORY TARGET: where its program is
  (cd "$1" && CARGO_TARGET_DIR=$2 cargo build --quiet --release --package hot) >&2
  printf '%s\n' "$2/release/hot"
}

of_commit() { # of_commit COMMIT FILE: counts that commit into the file
  local tree=$target/bench-check/tree
  git worktree remove --force "$tree" 2>/dev/null || true
  git worktree add --quiet --detach "$tree" "$1" || return 1
  local program status=0
  program=$(built "$tree" "$target/bench-check/target") && count "$program" >"$2" || status=1
  git worktree remove --force "$tree"
  return $status
}

mkdir -p "$target/bench-check"
now=$target/bench-check/now.tsv base=$target/bench-check/base.tsv
count "$(built . "$target")" >"$now"
if [ "${1-}" = --renew ]; then
  { printf '# %s\n' "$compiler"; cat "$now"; } >$baseline
  cat $baseline
  exit
fi
reason=
if [ $# -gt 0 ]; then
  of_commit "$1" "$base"
elif [ "$(sed -n '1s/^# //p' $baseline)" = "$compiler" ]; then
  grep -v '^#' $baseline >"$base"
else
  wrote=$(git log -1 --format=%H -- $baseline 2>/dev/null || true)
  if [ -z "$wrote" ] || ! of_commit "$wrote" "$base"; then
    reason="counted by $(sed -n '1s/^# //p' $baseline), this is $compiler; bench/check.sh --renew"
    : >"$base"
  fi
fi
awk -F'\t' -v reason="$reason" '
  NR == FNR && FILENAME == ARGV[1] {base[$1] = $2; next}
  reason != "" {printf "test instructions::%s ... ignored, %s\n", $1, reason; skipped++; next}
  !($1 in base) {printf "test instructions::%s ... ok (new: %d)\n", $1, $2; passed++; next}
  {change = ($2 / base[$1] - 1) * 100; bad = change > 5
   printf "test instructions::%s ... %s (%d, was %d: %+.1f %%)\n", $1, bad ? "FAILED" : "ok", $2, base[$1], change
   if (bad) failed++; else passed++}
  END {printf "test result: %s. %d passed; %d failed; %d ignored\n", failed ? "FAILED" : "ok", passed, failed, skipped
       exit failed > 0}' "$base" "$now"
