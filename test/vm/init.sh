#!/bin/sh
# The machine's first process, of its first root file system: mounts the root of the host read-only, a tmpfs above it, and what a Linux
# system has besides; goes on in there with guest.sh. TREE, the repository, comes from the kernel's command line.
# All of it is done by the busybox that is here already: what comes through virtiofs takes its time.
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs -o mode=755 none /run
while read -r module; do insmod "/modules/$module"; done < /modules/order

mount -t virtiofs -o ro host /host
mount -t tmpfs none /disk
mkdir /disk/upper /disk/work
mount -t overlay -o lowerdir=/host,upperdir=/disk/upper,workdir=/disk/work none /root

mkdir -p /dev/pts /dev/shm /root/disk /root/lib/modules
mount -t devpts -o mode=620,gid=5,ptmxmode=666 none /dev/pts
mount -t tmpfs -o mode=1777 none /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 -o nsdelegate none /sys/fs/cgroup
# A real disk, for limits of input and output and for extended attributes that a tmpfs does not have.
mount -t ext4 /dev/vda /root/disk
chmod 1777 /root/disk

# The kernel's modules are in the repository's build directory; the kernel finds who loads them.
mount --bind "/root$TREE/test/vm/build/kernel/lib/modules" /root/lib/modules
mkdir /run/vm
cp /bin/busybox /guest.sh /run/vm
ln -s busybox /run/vm/modprobe
echo /run/vm/modprobe > /proc/sys/kernel/modprobe
hostname vm
ip link set lo up

for directory in dev proc sys run; do mount -o move "/$directory" "/root/$directory"; done
exec switch_root /root /run/vm/busybox sh /run/vm/guest.sh
