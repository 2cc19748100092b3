#!/bin/sh
# What the virtual machine boots: Debian's cloud kernel, its modules, a first root file system, an empty disk. usage: build.sh [OUTPUT-DIRECTORY]
# The kernel's package is unpacked below OUTPUT-DIRECTORY (build/ beside this file) and never installed. A kernel that is there stays.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
output=${1-$here/build}
# What init.sh needs before it has a file system with the rest.
first_modules='virtio_pci virtio_console virtio_blk virtiofs overlay loop'
[ "$(uname -m)" = x86_64 ] || { echo "the virtual machine is made for x86_64, not for $(uname -m)" >&2; exit 1; }

# download: the package that linux-image-cloud-amd64 stands for, as kernel.deb in the current directory.
download() {
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p')
  [ -n "$package" ] && apt-get -qq -o APT::Sandbox::User=root download "$package" && mv "$package"_*.deb kernel.deb
}

unpack_kernel() {
  rm -rf "$output/kernel.part"
  mkdir -p "$output/kernel.part"
  cd "$output/kernel.part"
  download || { apt-get -qq update && download; } || { echo "cannot download linux-image-cloud-amd64" >&2; exit 1; }
  dpkg-deb --fsys-tarfile kernel.deb | tar -x ./boot ./lib/modules
  rm kernel.deb
  mv boot/vmlinuz-* vmlinuz
  rm -r boot
  busybox depmod -b "$PWD" "$(ls lib/modules)"
  rm -rf "$output/kernel"
  mv "$output/kernel.part" "$output/kernel"
}

# with_needs MODULE...: paths of the modules and of what they need, in the order in which they must be loaded, some more than once.
# It calls itself, so it is a shell of its own.
with_needs() (
  for module; do
    line=$(grep "/$module\.ko:" modules.dep) || { echo "the kernel has no module $module" >&2; exit 1; }
    needs=${line#*:}
    [ -z "$needs" ] || with_needs $(for need in $needs; do basename "$need" .ko; done)
    grep -o "^[^:]*/$module\.ko" modules.dep
  done
)

pack_initramfs() {
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  for directory in bin dev proc sys run modules host disk root; do mkdir "$root/$directory"; done
  cp "$here/init.sh" "$root/init"
  cp "$here/guest.sh" "$root/guest.sh"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in sh chmod cp hostname insmod ip ln mkdir mount switch_root; do ln -s busybox "$root/bin/$applet"; done
  cd "$output/kernel/lib/modules"/*
  with_needs $first_modules | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$root/modules"
    basename "$path" >> "$root/modules/order"
  done
  cd "$root"
  # Not compressed: to unpack it would take the emulated processor longer than to copy it takes ours.
  find . | busybox cpio -o -H newc > "$output/initramfs.part" 2>/dev/null
  mv "$output/initramfs.part" "$output/initramfs"
}

# Each machine writes to a copy of its own that qemu makes as it is written.
make_disk() {
  rm -f "$output/disk.part"
  truncate -s 8G "$output/disk.part"
  PATH="$PATH:/usr/sbin:/sbin" mkfs.ext4 -q -F -O ^has_journal "$output/disk.part"
  mv "$output/disk.part" "$output/disk"
}

[ -e "$output/kernel/vmlinuz" ] || unpack_kernel
pack_initramfs
[ -e "$output/disk" ] || make_disk
