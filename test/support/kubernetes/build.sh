#!/usr/bin/env bash
# build.sh FOLDER: the programs of Kubernetes, etcd, CoreDNS and the pause image, built with Go from the modules of programs/. FOLDER/stamp says from what; where it says
# the same as now, nothing is done. Two at once: the second waits, then finds everything there.
set -euo pipefail
out=$(realpath -m "${1:?usage: build.sh FOLDER}")
cd "$(dirname "${BASH_SOURCE[0]}")"

mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock 9

stamp=$(cat build.sh image.sh programs/go.* programs/*/* <(go version) | sha256sum)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "Kubernetes: already there in $out"
  exit
fi

# What is interrupted leaves no half set: the folder takes its name at the end.
building=$out.building
rm -rf "$building"
mkdir -p "$building"

# Static, so that they run in an image that holds nothing else.
export CGO_ENABLED=0
cd programs
# As a dependency Kubernetes does not know its version, and would tell every client v0.0.0.
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
package=k8s.io/component-base/version
flags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"

program() { # program NAME PACKAGE
  local begun=$SECONDS
  go build -buildvcs=false -ldflags "$flags" -o "$building/$1" "$2"
  echo "$1: $((SECONDS - begun)) s"
}
program etcd go.etcd.io/etcd/server/v3
for name in kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy; do program $name k8s.io/kubernetes/cmd/$name; done
program pause ./pause
# A module of its own: it wants other versions of Kubernetes' libraries.
cd coredns
program coredns .
cd ../..

mkdir "$building/pause-root"
cp "$building/pause" "$building/pause-root/"
./image.sh localhost/pause:1 "$building/pause-root" "$building/pause.tar" /pause
rm -r "$building/pause-root"

echo "$stamp" >"$building/stamp"
rm -rf "$out"
mv "$building" "$out"
echo "Kubernetes $version: built in $out"
