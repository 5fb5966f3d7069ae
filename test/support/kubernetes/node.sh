# shellcheck shell=bash
# A node, where pods run: containerd, kubelet, kube-proxy and CoreDNS in PID, mount, network, host name and IPC namespaces of their own, so that nothing of this machine's
# network, firewall, kernel settings and containers is touched, and the end of one process ends all of it. For the Nth node of this machine:
#   198.18.N.1 this machine and the API server   198.18.N.2 the node, DNS for its pods   198.18.(128+N).0/24 pods   198.19.N.0/24 Services
# (198.18.0.0/15 is set aside for tests of networks, so no VPN or office has it.) Both ranges are routed from this machine; pods reach 198.18.N.1 and nothing else.

start_node() { # start_node [IMAGE.tar...]: sets SERVER, HOST and PIDS[init]
  case $DIR/ in /run/* | /var/log/* | /var/lib/kubelet/* | /var/lib/cni/*) fail "a node mounts over $DIR; set TMPDIR to another folder" ;; esac
  mkdir -p "$DIR"/node/{kubelet,containerd,log,cni,images}
  local image number=0
  for image in "$PROGRAMS/pause.tar" "$@"; do ln -s "$(realpath "$image")" "$DIR/node/images/$((++number)).tar"; done

  make_link
  make_cgroups
  write_node_configuration

  export DIR PROGRAMS HOST NODE PODS SERVICES
  start unshare unshare --mount --net --pid --uts --ipc --fork --kill-child --mount-proc bash "$HERE/node-init.sh"
  local init= children=/proc/${PIDS[unshare]}/task/${PIDS[unshare]}/children
  until [ -n "$init" ]; do
    read -r init _ 2>/dev/null <"$children" || kill -0 "${PIDS[unshare]}" 2>/dev/null || fail_with_log unshare "no namespaces for the node"
    pause
  done
  PIDS[init]=$init
  ip link set "$LINK-node" netns "$init" name eth0
  ip address add "$HOST/30" dev "$LINK"
  ip link set "$LINK" up
  ip route add "$PODS" via "$NODE"
  ip route add "$SERVICES.0/24" via "$NODE"

  # Meanwhile containerd starts and unpacks the images.
  start_control_plane "$HOST" "$SERVICES.0/24" "$SERVICES.1"
  certificate kubelet-server ca /CN=node-1 "IP:$NODE,DNS:node-1"
  certificate kubelet ca /O=system:nodes/CN=system:node:node-1
  certificate kube-proxy ca /CN=system:kube-proxy
  certificate coredns ca /CN=system:coredns
  local user
  for user in kubelet kube-proxy coredns; do kubeconfig "$DIR/conf/$user.kubeconfig" $user; done
  kubectl create clusterrole system:coredns --verb=list,watch --resource=services,pods,namespaces,endpointslices.discovery.k8s.io >/dev/null
  kubectl create clusterrolebinding system:coredns --clusterrole=system:coredns --user=system:coredns >/dev/null
  touch "$DIR/conf/join" # node-init.sh waits for it

  wait_for 180 "Ready node" unshare node_is_ready
  wait_for 30 "DNS of the cluster" unshare connects "$NODE" 53
  # What kube-proxy is for: the address of the API's own Service answers. A connection that was begun before its rules were there stays untranslated, so each try is short.
  wait_for 60 "translation of Services" unshare connects "$SERVICES.1" 443
}

node_is_ready() {
  [ "$(kubectl get node node-1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}{.spec.taints}')" = True ]
}

connects() { # connects ADDRESS PORT
  timeout 1 bash -c "exec 3<>/dev/tcp/$1/$2"
}

# The first N that is free. A link is made or it is there already, so two clusters that start at once never get the same one.
make_link() {
  local number
  for ((number = 1; ; number++)); do
    ((number < 120)) || fail "no network link can be made: $(ip link add graft0 type veth peer name graft0-node 2>&1)"
    if ip link add "graft$number" type veth peer name "graft$number-node" 2>/dev/null; then break; fi
  done
  LINK=graft$number
  HOST=198.18.$number.1 NODE=198.18.$number.2 PODS=198.18.$((128 + number)).0/24 SERVICES=198.19.$number
}

# A group of the node's own in every hierarchy, be they of version 1, 2 or both.
make_cgroups() {
  CGROUP=graft-kubernetes-$$
  local hierarchy file
  for hierarchy in $(findmnt -rnt cgroup,cgroup2 -o TARGET); do
    remove_abandoned_cgroups "$hierarchy"
    mkdir "$hierarchy/$CGROUP"
    # In version 1 a new cpuset is empty, and takes no process.
    for file in cpuset.cpus cpuset.mems; do
      if [ -f "$hierarchy/$CGROUP/$file" ] && [ ! -f "$hierarchy/cgroup.controllers" ]; then cat "$hierarchy/$file" >"$hierarchy/$CGROUP/$file"; fi
    done
  done
}

# Those of clusters whose cluster.sh was killed: the folders stay, though the processes are gone.
remove_abandoned_cgroups() { # remove_abandoned_cgroups HIERARCHY
  local folder
  for folder in "$1"/graft-kubernetes-*; do
    if [ -d "$folder" ] && ! kill -0 "${folder##*-}" 2>/dev/null; then find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
}

remove_network_and_cgroups() {
  # Its other end went with the node's namespace, and mostly took it along.
  if [ -n "${LINK:-}" ]; then ip link delete "$LINK" 2>/dev/null || true; fi
  [ -n "${CGROUP:-}" ] || return 0
  local hierarchy try
  for hierarchy in $(findmnt -rnt cgroup,cgroup2 -o TARGET); do
    # The kernel lets a group go a little after its last process.
    for try in 1 2 3 4 5 6 7 8 9 10; do
      [ -d "$hierarchy/$CGROUP" ] || break
      find "$hierarchy/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || sleep "0.$try"
    done
  done
}

write_node_configuration() {
  cat >"$DIR/conf/containerd.toml" <<TOML
version = 2
root = "/run/graft/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  # The kubelet asks for scores below our own; where root lacks CAP_SYS_RESOURCE runc would fail every pod over it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$DIR/node/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
  # A cable to each pod and not a bridge: what one pod answers another through a Service is translated back on a bridge only where bridge-nf-call-iptables is on.
  cat >"$DIR/node/cni/10-pods.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{ "type": "ptp", "mtu": 1500, "ipam": { "type": "host-local", "ranges": [[{ "subnet": "$PODS" }]], "routes": [{ "dst": "0.0.0.0/0" }] } }]
}
JSON
  cat >"$DIR/conf/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE
readOnlyPort: 0
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $DIR/pki/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $DIR/pki/kubelet-server.crt
tlsPrivateKeyFile: $DIR/pki/kubelet-server.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /run/graft/volume-plugins
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false # from 1.35 on it is true
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0 # a lower one needs CAP_SYS_RESOURCE
clusterDomain: cluster.local
clusterDNS: [$NODE]
resolvConf: $DIR/conf/resolv.conf
# No registry brings an image back, and the disk of this machine may be as full as it likes.
imageGCHighThresholdPercent: 100
evictionHard: { memory.available: 50Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0% }
YAML
  echo "nameserver $NODE" >"$DIR/conf/resolv.conf"
  cat >"$DIR/conf/Corefile" <<CONF
.:53 {
  bind $NODE
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $DIR/conf/coredns.kubeconfig
    pods insecure
    ttl 1
  }
}
CONF
}
