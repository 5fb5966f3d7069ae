#!/usr/bin/env bash
# image.sh NAME:TAG FOLDER OUT.tar [ENTRYPOINT...]: a container image of one layer that holds FOLDER, as a tar for `ctr images import`. The same folder makes the same bytes.
# Name it localhost/…, with a tag that is not "latest": else the kubelet asks a registry for it.
set -euo pipefail
(($# >= 3)) || { echo "usage: image.sh NAME:TAG FOLDER OUT.tar [ENTRYPOINT...]" >&2; exit 2; }
name=$1 folder=$2 out=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tar --create --file "$work/layer.tar" --directory "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 .
layer=$(sha256sum <"$work/layer.tar")
case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) architecture=$(uname -m) ;;
esac
words=()
for word in "$@"; do words+=("\"$word\""); done
entrypoint=$(IFS=,; echo "${words[*]:-}")

cat >"$work/config.json" <<JSON
{
  "architecture": "$architecture",
  "os": "linux",
  "created": "1970-01-01T00:00:00Z",
  "config": { "Entrypoint": [$entrypoint], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/" },
  "rootfs": { "type": "layers", "diff_ids": ["sha256:${layer%% *}"] }
}
JSON
cat >"$work/manifest.json" <<JSON
[{ "Config": "config.json", "RepoTags": ["$name"], "Layers": ["layer.tar"] }]
JSON
tar --create --file "$out" --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 manifest.json config.json layer.tar
