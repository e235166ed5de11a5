#!/bin/bash
# tries.sh COUNT IDLE LINE: runs LINE that often, and before each IDLE, to which it is compared.
# Prints `idle MICROSECONDS` and `took MICROSECONDS` per try, then what the last try said; ends as that did.
count=$1 idle=$2 line=$3
said=$(mktemp)
for ((i = 0; i < count; i++)); do
  begun=${EPOCHREALTIME/./}
  eval "$idle" >/dev/null 2>&1
  echo "idle $((${EPOCHREALTIME/./} - begun))"
  begun=${EPOCHREALTIME/./}
  eval "$line" >"$said" 2>&1
  code=$?
  echo "took $((${EPOCHREALTIME/./} - begun))"
done
cat "$said"
exit "$code"
