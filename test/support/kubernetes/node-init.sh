#!/usr/bin/env bash
# The first process in a node's namespaces: mounts, addresses, firewall rules and processes that it makes end with it. node.sh starts it.
set -euo pipefail

# Mounts that the kubelet makes reach its containers, and nothing outside of this namespace.
mount --make-rshared /
# Sockets, shims, network namespaces and leases of addresses have fixed places, which are covered here; of it all only the empty folders /var/lib/kubelet and /var/lib/cni stay on the
# machine. Under /run also for the paths of sockets, which may have 107 characters.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/graft/{containerd,volume-plugins,kernel} /var/lib/kubelet /var/lib/cni
mount --bind "$DIR/node/containerd" /run/graft/containerd
mount --bind "$DIR/node/kubelet" /var/lib/kubelet
mount --bind "$DIR/node/log" /var/log
mount -t tmpfs -o mode=755 tmpfs /var/lib/cni

# The kubelet sets these for the whole machine; after a panic it would start anew. It gets files that say what it wants to read.
kernel_setting() { # kernel_setting PATH VALUE
  local file=/run/graft/kernel/${1##*/}
  echo "$2" >"$file"
  mount --bind "$file" "/proc/sys/$1"
}
kernel_setting vm/overcommit_memory 1
kernel_setting vm/panic_on_oom 0
kernel_setting kernel/panic 10
kernel_setting kernel/panic_on_oops 1
kernel_setting kernel/keys/root_maxkeys 1000000
kernel_setting kernel/keys/root_maxbytes 25000000

hostname node-1
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip address add "$NODE/30" dev eth0
ip link set eth0 up
# The address of a Service needs some route before it is translated. There is no other: a pod that calls out is told so at once.
ip route add "$SERVICES.0/24" via "$HOST"
ip route add unreachable default
echo 1 >/proc/sys/net/ipv4/ip_forward

containerd --config "$DIR/conf/containerd.toml" >"$DIR/log/containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
for image in "$DIR"/node/images/*.tar; do ctr -n k8s.io images import "$image"; done
until [ -e "$DIR/conf/join" ]; do sleep 0.1; done

"$PROGRAMS/kubelet" --config "$DIR/conf/kubelet.yaml" --kubeconfig "$DIR/conf/kubelet.kubeconfig" --hostname-override node-1 --node-ip "$NODE" \
  >"$DIR/log/kubelet.log" 2>&1 &
"$PROGRAMS/coredns" -conf "$DIR/conf/Corefile" >"$DIR/log/coredns.log" 2>&1 &
# The size of the table of connections is one for the machine, and read-only from here.
"$PROGRAMS/kube-proxy" --kubeconfig "$DIR/conf/kube-proxy.kubeconfig" --hostname-override node-1 --proxy-mode nftables --cluster-cidr "$PODS" \
  --conntrack-max-per-core 0 --conntrack-min 0 --oom-score-adj 0 --healthz-bind-address 127.0.0.1:10256 --metrics-bind-address 127.0.0.1:10249 \
  >"$DIR/log/kube-proxy.log" 2>&1 &
# bash collects what shims leave behind.
wait
