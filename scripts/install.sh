#!/bin/sh
# Copies what tsbox needs when it runs. usage: install.sh DIRECTORY PREFIX
# DIRECTORY is where the files go now, PREFIX where they will be found (they differ when a package is made).
set -eu
umask 022
cd "$(dirname "$0")/.."

target=$1
case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) echo "tsbox runs on x86_64 and aarch64, not on $(uname -m)" >&2; exit 1 ;;
esac
lib=$target/lib/tsbox
new=$lib.new-$$
trap 'rm -rf "$new"' EXIT

mkdir -p "$new" "$target/bin"
for path in bin contrib dist package.json LICENSE README.md docs native-bindings/build/tsbox-executor native-bindings/build/libtsbox.so native-bindings/build/tsbox-userns native-bindings/build/tsbox-init native-bindings/build/tsbox-replay native-bindings/build/tsbox-resolver native-bindings/build/tsbox-keeper \
  "node_modules/node-linux-$arch" "node_modules/@koromix/koffi-linux-$arch"; do
  mkdir -p "$new/$(dirname "$path")"
  cp -R "$path" "$new/$path"
done
rm -rf "$lib"
mv "$new" "$lib"
ln -sf ../lib/tsbox/bin/tsbox "$target/bin/tsbox"
ln -sf ../lib/tsbox/bin/tsbox-union "$target/bin/tsbox-union"
echo "tsbox is in $2/lib/tsbox, its command in $2/bin"
