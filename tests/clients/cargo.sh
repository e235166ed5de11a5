#!/bin/sh
# cargo.sh HOST: fetches a crate from a sparse registry on HOST into an empty cargo home, and shows it.
set -e
export CARGO_HOME=/tmp/cargo-home CARGO_NET_RETRY=0
rm -rf /tmp/cargo-home /tmp/cargo-project
mkdir -p /tmp/cargo-home /tmp/cargo-project/src
cd /tmp/cargo-project
cat >"$CARGO_HOME/config.toml" <<EOF
[source.crates-io]
replace-with = "world"
[source.world]
registry = "sparse+https://$1/static/cargo/"
EOF
printf '[package]\nname = "asks"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ntiny = "1.0.0"\n' >Cargo.toml
: >src/lib.rs
cargo fetch --quiet
cat "$CARGO_HOME"/registry/src/*/tiny-1.0.0/src/lib.rs
