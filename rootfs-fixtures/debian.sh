#!/bin/sh
# A small Debian with bash, less, vi, ps and apt. usage: debian.sh OUTPUT.tar
# It is of the release of this machine and comes from the package sources that apt has here, so it needs no other configuration.
# mmdebstrap makes it, or debootstrap where mmdebstrap is missing or stops. Needs root.
set -eu
umask 022

output=$1
extra=less,procps,vim-tiny
[ "$(id -u)" -eq 0 ] || { echo "the debian fixture is built by root only" >&2; exit 1; }
codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
[ "$(. /etc/os-release && echo "$ID")" = debian ] || { echo "this machine does not run Debian" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# The main archive of this release, as apt has it: third-party sources and other suites are left out.
apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
  'Created-By: Packages' 'Origin: Debian' 'Component: main' |
  awk -v c="$codename" '$3 == c || $3 == c "-updates" || $3 == c "-security"' | sort -u > "$work/sources.list"
if ! [ -s "$work/sources.list" ]; then
  echo "apt has no package lists of Debian $codename: apt-get update" >&2
  exit 1
fi

# How apt reaches its sources from here holds for the build only.
apt-config dump Acquire | grep -E '^Acquire::[a-z]+::Proxy ' > "$work/proxy.conf" || true

with_mmdebstrap() {
  set -- --mode=root --variant=minbase --format=directory --include="$extra" \
    --skip=check/empty \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap'
  while read -r line; do set -- "$@" --aptopt="$line"; done < "$work/proxy.conf"
  mmdebstrap "$@" "$codename" "$work/root" "$work/sources.list"
}

with_debootstrap() {
  mirror=$(awk -v c="$codename" '$3 == c { print $2; exit }' "$work/sources.list")
  debootstrap --variant=minbase --include="$extra" "$codename" "$work/root" "$mirror"
}

built=
for tool in mmdebstrap debootstrap; do
  command -v $tool >/dev/null 2>&1 || continue
  if with_$tool > "$work/$tool.log" 2>&1 < /dev/null; then built=$tool; break; fi
  echo "$tool stopped:" >&2
  tail -n 5 "$work/$tool.log" >&2
  rm -rf --one-file-system "$work/root"
done
[ -n "$built" ] || { echo "no tool here can build a Debian root file system" >&2; exit 1; }

# Caches and what belongs to the machine that built it. tsbox gives each container its own three files in /etc.
root=$work/root
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/log/*.log \
  "$root"/var/log/apt "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/tmp/* "$root"/run/*
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
: > "$root/etc/hostname"
: > "$root/etc/resolv.conf"
rm -f "$root/etc/machine-id"
: > "$root/etc/machine-id"

tar --create --file "$output.part" --directory "$root" --format=posix --pax-option=delete=atime,delete=ctime \
  --sort=name --numeric-owner --xattrs --xattrs-include='*' --one-file-system --exclude='./dev/*' .
mv "$output.part" "$output"
