# Runs the commands that come in from the host, one after the other, until there are no more. A command is a line: a mark, a space, a
# shell script in base64. What the script prints goes to the host through two ports, and the mark behind it ends both; on the first it
# comes with the exit status.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
umask 022
set -- /dev/vport*p1 /dev/vport*p2 /dev/vport*p3
exec 3< "$1" 4> "$2" 5> "$3"
while read -r mark script <&3; do
  /bin/sh -c "$(echo "$script" | base64 -d)" < /dev/null >&4 2>&5 3<&- 4>&- 5>&-
  status=$?
  printf '%s%s\n' "$mark" "$status" >&4
  printf '%s' "$mark" >&5
done
echo b > /proc/sysrq-trigger
