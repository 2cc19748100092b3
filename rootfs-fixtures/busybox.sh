#!/bin/sh
# A root file system of one static binary. usage: busybox.sh OUTPUT.tar
# The applets of /bin are hard links, as in Docker's busybox image; those of /usr/bin, /sbin and /usr/sbin are symbolic links.
# Same package, same bytes: owners, times and order are fixed.
set -eu
umask 022

output=$1
busybox=$(command -v busybox) || { echo "busybox is missing: scripts/setup.sh run" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

mkdir -p "$root/bin" "$root/etc" "$root/home" "$root/root" "$root/tmp" "$root/var/spool/mail" "$root/var/www"
cp "$busybox" "$root/bin/busybox"
if LC_ALL=C ldd "$busybox" 2>/dev/null | grep -q '=>'; then
  echo "$busybox is linked dynamically: the package busybox-static is needed" >&2
  exit 1
fi

"$busybox" --list-full | while read -r applet; do
  case "$applet" in
    bin/busybox) continue ;;
    bin/*) ln "$root/bin/busybox" "$root/$applet" ;;
    sbin/* | usr/bin/* | usr/sbin/*) mkdir -p "$root/${applet%/*}"; ln -s /bin/busybox "$root/$applet" ;;
  esac
done
# Scripts begin with #!/bin/sh or #!/usr/bin/env; both must be there whatever the applet list says.
[ -e "$root/bin/sh" ] || ln "$root/bin/busybox" "$root/bin/sh"
mkdir -p "$root/usr/bin"
[ -e "$root/usr/bin/env" ] || [ -h "$root/usr/bin/env" ] || ln -s /bin/busybox "$root/usr/bin/env"

cat > "$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
tester:x:1000:1000:a user for tests:/home:/bin/sh
nobody:x:65534:65534:nobody:/home:/bin/false
PASSWD
cat > "$root/etc/group" <<'GROUP'
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
mail:x:8:tester
staff:x:50:tester
www-data:x:33:
users:x:100:tester
tester:x:1000:
nogroup:x:65534:
GROUP
cat > "$root/etc/os-release" <<RELEASE
NAME="BusyBox"
ID=busybox
PRETTY_NAME="$("$busybox" | sed -n '1s/ (.*//p'), the busybox fixture of tsbox"
RELEASE
chmod 700 "$root/root"
chmod 1777 "$root/tmp"

tar --create --file "$output.part" --directory "$root" --format=posix --pax-option=delete=atime,delete=ctime \
  --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .
mv "$output.part" "$output"
