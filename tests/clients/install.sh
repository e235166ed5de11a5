#!/bin/bash
# install.sh DIRECTORY: the clients that no Debian package holds, and the two that are compiled, into DIRECTORY.
# Does nothing where that was done from the same sources. Debian's own are in the Makefile (CLIENT_PACKAGES).
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
sources=$(cat "$here"/{install.sh,python.txt,package.json,fetch.go,Fetch.java} | sha256sum)
if [ -e done ] && [ "$(cat done)" = "$sources" ]; then exit 0; fi
rm -rf done python node_modules package.json package-lock.json bin java
mkdir -p bin java cache
# Each of these programs may have a namesake from elsewhere: these are the ones that the box shows.
/usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-warn-script-location --only-binary :all: \
  --cache-dir cache/pip --target python --requirement "$here/python.txt"
cp "$here/package.json" .
npm install --cache cache/npm --no-audit --no-fund --silent
CGO_ENABLED=0 GOCACHE=$PWD/cache/go GO111MODULE=off /usr/bin/go build -o bin/fetch-go "$here/fetch.go"
"$(ls -d /usr/lib/jvm/java-*-openjdk-*/bin/javac | sort | tail -n 1)" -d java "$here/Fetch.java"
echo "$sources" >done
