#!/usr/bin/env bash
# run-image.sh ROOT FOLDER NAME=VALUE... PROGRAM ARGUMENTS...: runs a program in the file system ROOT of an image as Kubernetes would start it: root file system read-only, /tmp writable and
# empty but for what FOLDER holds, user and group 10001, in /app, as process 1 of its namespace. Whoever starts this does it with `unshare --mount --pid --fork`.
set -euo pipefail
root=$1 folder=$2
shift 2
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
cp -r "$folder/." "$root/tmp/"
mount -o remount,bind,ro "$root"
exec chroot --userspec=10001:10001 "$root" /usr/bin/env --ignore-environment --chdir=/app "$@"
