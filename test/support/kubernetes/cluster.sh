#!/usr/bin/env bash
# cluster.sh FOLDER PROGRAMS control-plane | node [IMAGE.tar...]: a new, empty Kubernetes. Once it is usable one line of JSON says how to reach it; it stands until
# standard input is closed, be it by the death of whoever holds it, and takes everything that it started with it. Logs stay in FOLDER/log.
set -euo pipefail
DIR=$(realpath "$1") PROGRAMS=$(realpath "$2") KIND=$3
shift 3
PATH=$PATH:/usr/sbin:/sbin # not everybody's PATH has them
HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
for part in processes certificates control-plane node; do
  # shellcheck source=/dev/null
  . "$HERE/$part.sh"
done

mkdir -p "$DIR"/{log,pki,conf}
chmod 700 "$DIR"
trap end_everything EXIT

case $KIND in
  control-plane)
    start_control_plane 127.0.0.1 10.96.0.0/24 10.96.0.1
    echo "{\"server\":\"$SERVER\"}"
    ;;
  node)
    start_node "$@"
    echo "{\"server\":\"$SERVER\",\"hostAddress\":\"$HOST\",\"init\":${PIDS[init]}}"
    ;;
  *) fail "a control-plane or a node was expected, found $KIND" ;;
esac

while read -r _; do :; done
