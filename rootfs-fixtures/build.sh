#!/bin/sh
# Builds one fixture. usage: build.sh busybox|debian|layers|many-layers [OUTPUT-DIRECTORY]
# The result goes to build/ beside this file unless told otherwise; README.md says what each one is.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
name=${1-}
output=${2-$here/build}
mkdir -p "$output"

case "$name" in
  busybox | debian)
    exec "$here/$name.sh" "$output/$name.tar" ;;
  layers | many-layers)
    case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) echo "no pinned Node for $(uname -m)" >&2; exit 1 ;; esac
    exec "$here/../node_modules/node-linux-$arch/bin/node" "$here/$name.ts" "$output" ;;
  *)
    echo "usage: $0 busybox|debian|layers|many-layers [OUTPUT-DIRECTORY]" >&2
    exit 2 ;;
esac
