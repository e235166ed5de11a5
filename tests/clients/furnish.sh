#!/bin/sh
# furnish.sh DIRECTORY HOST: what the origins give away: a git repository and one package of each kind, all of them ours.
set -e
umask 022
cd "$1"
host=$2
work=$(mktemp -d)

git init -q -b main "$work/git"
echo "hello from git" >"$work/git/file"
git -C "$work/git" add file
git -C "$work/git" -c user.name=a -c user.email=a@b commit -q -m x
git clone -q --bare "$work/git" repo.git
git --git-dir repo.git update-server-info

# PyPI: a wheel is a zip with its metadata.
mkdir -p simple/tiny
python3 - <<'EOF'
import zipfile
with zipfile.ZipFile("simple/tiny/tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny.py", "WORDS = 'hello from pip'\n")
    wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("tiny-1.0.dist-info/RECORD", "")
EOF
echo '<a href="tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>' >simple/tiny/index.html

mkdir -p npm "$work/package"
echo '{"name":"tiny","version":"1.0.0"}' >"$work/package/package.json"
echo "hello from npm" >"$work/package/file"
tar -C "$work" -czf npm/tiny-1.0.0.tgz package
printf '{"name":"tiny","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"tiny","version":"1.0.0","dist":{"tarball":"https://%s/static/npm/tiny-1.0.0.tgz","shasum":"%s"}}}}' \
  "$host" "$(sha1sum npm/tiny-1.0.0.tgz | cut -d' ' -f1)" >npm/tiny

mkdir -p cargo/ti/ny "$work/tiny-1.0.0/src"
printf '[package]\nname = "tiny"\nversion = "1.0.0"\nedition = "2021"\n' >"$work/tiny-1.0.0/Cargo.toml"
echo "// hello from cargo" >"$work/tiny-1.0.0/src/lib.rs"
tar -C "$work" -czf cargo/tiny-1.0.0.crate tiny-1.0.0
printf '{"dl":"https://%s/static/cargo/{crate}-{version}.crate"}' "$host" >cargo/config.json
printf '{"name":"tiny","vers":"1.0.0","deps":[],"cksum":"%s","features":{},"yanked":false}\n' \
  "$(sha256sum cargo/tiny-1.0.0.crate | cut -d' ' -f1)" >cargo/ti/ny/tiny

mkdir -p apt "$work/deb/DEBIAN" "$work/deb/usr/share/tiny"
printf 'Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b.test>\nDescription: tiny\n' >"$work/deb/DEBIAN/control"
echo "hello from apt" >"$work/deb/usr/share/tiny/file"
dpkg-deb --root-owner-group --build "$work/deb" apt/tiny_1.0_all.deb >/dev/null
{
  cat "$work/deb/DEBIAN/control"
  echo "Filename: ./tiny_1.0_all.deb"
  echo "Size: $(stat -c %s apt/tiny_1.0_all.deb)"
  echo "SHA256: $(sha256sum apt/tiny_1.0_all.deb | cut -d' ' -f1)"
} >apt/Packages

rm -rf "$work"
chmod -R a+rX .
