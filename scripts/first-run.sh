#!/bin/sh
# What `make run` does when all is built: get an image and start it. IMAGE and CMD in the environment choose others.
# Without IMAGE it is `ubuntu` from the registry or, when that cannot be reached, an image that is built from this machine's own packages.
set -eu
cd "$(dirname "$0")/.."
tsbox=$PWD/bin/tsbox
built=rootfs-fixtures/build

have() { [ -n "$("$tsbox" images -q "$1")" ]; }

# offline NAME SHELL: the fixture NAME as NAME:offline, built and imported unless it is there.
offline() {
  have "$1:offline" && return 0
  ${MAKE:-make} --no-print-directory "$built/$1.tar" || return 1
  echo "Importing $built/$1.tar as $1:offline"
  "$tsbox" import --change "CMD [\"$2\"]" "$built/$1.tar" "$1:offline" >/dev/null
}

image=${IMAGE-}
case "$image" in
  '')
    image=ubuntu
    said=$(mktemp)
    quiet=
    [ -t 1 ] || quiet=--quiet
    # shellcheck disable=SC2086
    if ! have "$image" && ! "$tsbox" pull $quiet "$image:latest" 2>"$said"; then
      reason=$(sed -n 's/^tsbox: //p' "$said" | head -n 1)
      echo "ubuntu cannot be pulled ($reason): an offline image takes its place."
      if offline debian bash; then image=debian:offline; else offline busybox sh; image=busybox:offline; fi
    fi
    rm -f "$said" ;;
  debian:offline) offline debian bash ;;
  busybox:offline) offline busybox sh ;;
esac

if [ -n "${CMD-}" ]; then
  set -- sh -c "$CMD"
elif [ -t 0 ] && [ -t 1 ]; then
  echo "A shell in a container of $image; leave it with exit."
  set --
else
  set -- sh -c 'set -x; head -n 2 /etc/os-release; hostname; id; ps -ef; grep overlay /proc/mounts'
fi
flags=--rm
if [ -t 0 ] && [ -t 1 ]; then flags='--rm -i -t'; fi
status=0
# shellcheck disable=SC2086
"$tsbox" run $flags "$image" "$@" || status=$?
# How somebody leaves a shell is no failure of `make run`; that it could not be started is one.
[ $# -gt 0 ] || [ "$status" -eq 125 ] || [ "$status" -eq 126 ] || [ "$status" -eq 127 ] || exit 0
exit "$status"
