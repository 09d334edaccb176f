#!/bin/sh
# demo-image.sh NAME: makes a small image with a shell, from the static busybox of
# this machine, where no registry can be reached. Running it again changes nothing
# but the image's id.
set -eu

name=${1:-}
[ -n "$name" ] || { echo "usage: $0 NAME[:TAG]" >&2; exit 2; }
command -v docker >/dev/null || { echo "demo-image: there is no docker program: run make engine" >&2; exit 1; }
busybox=$(command -v busybox) || { echo "demo-image: there is no busybox: apt-get install busybox-static" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$root/bin" "$root/tmp" "$root/etc" "$root/root" "$root/proc" "$root/dev" "$root/sys"
chmod 755 "$root" "$root/bin" "$root/etc" "$root/proc" "$root/dev" "$root/sys"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
for applet in $("$busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
"$root/bin/sh" -c true 2>/dev/null || { echo "demo-image: $busybox has no shell in it" >&2; exit 1; }
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
if ldd "$busybox" >/dev/null 2>&1; then
  echo "demo-image: $busybox is not static: apt-get install busybox-static" >&2
  exit 1
fi
tar -C "$root" --numeric-owner --owner=0 --group=0 -cf - . |
  docker import --change 'ENV PATH=/bin' --change 'CMD ["/bin/sh"]' - "$name" >/dev/null
echo "demo-image: $name"
