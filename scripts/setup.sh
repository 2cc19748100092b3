#!/bin/sh
# Installs the Debian packages that are missing. usage: setup.sh GROUP...
# The list, with a reason for each, is packages.txt beside this file; a group is what its first column says.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 build|image|test..." >&2; exit 2; }
wanted=" $* "

# present PROOF: is the command, or a file that matches the pattern, there?
present() {
  case "$1" in
    /*) for file in $1; do [ -e "$file" ] && return 0; done; return 1 ;;
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 ;;
  esac
}

missing=
while read -r group package proof reason; do
  case "$wanted" in *" $group "*) ;; *) continue ;; esac
  present "$proof" && continue
  [ -n "$missing" ] || echo "Debian packages that are missing here:"
  printf '  %-16s %s\n' "$package" "$reason"
  missing="$missing $package"
done < "$(dirname "$0")/packages.txt"
[ -n "$missing" ] || exit 0

command="apt-get install --yes --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "There is no apt-get here: install what these packages hold by other means, then try again." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Only root may install them. Run this, then try again:" >&2
  echo "  sudo apt-get update && sudo $command" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Some packages bring a service. Tests start their own, so none is started here.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$log" "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

# quietly COMMAND...: runs it, and shows what it said only when it fails.
quietly() {
  echo "+ $*"
  "$@" >"$log" 2>&1 </dev/null && return 0
  tail -n 15 "$log" >&2
  return 1
}

# A source that cannot be reached must not stop the others: the install decides.
update() { quietly apt-get update || true; }

lists=$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | head -n 1)
[ -n "$lists" ] || update
# shellcheck disable=SC2086
quietly $command && exit 0
if [ -n "$lists" ]; then
  # Old lists name versions that the archive no longer has.
  update
  # shellcheck disable=SC2086
  quietly $command && exit 0
fi
echo "apt-get could not install:$missing" >&2
exit 1
