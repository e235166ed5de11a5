#!/bin/bash
# tries.sh COUNT NAME LINE: makes the file NAME.ready, waits for NAME.go, and runs LINE that often; after each time a datagram
# to 127.0.0.1:9, where nobody listens, tells waits.py that a try is over. Prints what the last try said, and ends as it did.
count=$1 name=$2 line=$3
said=$(mktemp)
: >"$name.ready"
until [ -e "$name.go" ]; do sleep 0.02; done
for ((i = 0; i < count; i++)); do
  eval "$line" >"$said" 2>&1
  code=$?
  echo over 2>/dev/null >/dev/udp/127.0.0.1/9
done
cat "$said"
exit "$code"
