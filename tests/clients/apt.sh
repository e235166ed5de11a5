#!/bin/sh
# apt.sh HOST: reads the list of a repository on HOST into an empty apt, and downloads the package in it.
set -e
rm -rf /tmp/apt
mkdir -p /tmp/apt/etc/apt.conf.d /tmp/apt/etc/preferences.d /tmp/apt/state/lists/partial /tmp/apt/cache/archives/partial /tmp/apt/got
: >/tmp/apt/status
echo "deb [trusted=yes] https://$1/static/apt ./" >/tmp/apt/etc/sources.list
cat >/tmp/apt/conf <<EOF
Dir::Etc "/tmp/apt/etc";
Dir::State "/tmp/apt/state";
Dir::State::status "/tmp/apt/status";
Dir::Cache "/tmp/apt/cache";
Acquire::Retries "0";
Acquire::Languages "none";
APT::Sandbox::User "";
Acquire::https::CAInfo "$SSL_CERT_FILE";
APT::Update::Error-Mode "any";
EOF
export APT_CONFIG=/tmp/apt/conf
apt-get -q update
cd /tmp/apt/got
apt-get -q download tiny
dpkg-deb --fsys-tarfile tiny_1.0_all.deb | tar -xO ./usr/share/tiny/file
