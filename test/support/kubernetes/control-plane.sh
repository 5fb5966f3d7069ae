# shellcheck shell=bash
# etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Pods are made and stay Pending, unless a node joins.

start_control_plane() { # start_control_plane ADDRESS SERVICE_RANGE FIRST_SERVICE: sets SERVER; DIR/kubeconfig is an administrator's
  local address=$1 services=$2 first_service=$3 pki=$DIR/pki api etcd peer
  free_port && api=$PORT
  free_port && etcd=$PORT
  free_port && peer=$PORT
  SERVER=https://$address:$api

  authority ca
  certificate apiserver ca /CN=kube-apiserver \
    "IP:$address,IP:127.0.0.1,IP:$first_service,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate apiserver-kubelet ca /O=system:masters/CN=apiserver-kubelet
  certificate admin ca /O=system:masters/CN=admin
  certificate controller-manager ca /CN=system:kube-controller-manager
  certificate scheduler ca /CN=system:kube-scheduler
  # Of its own: whoever etcd trusts may write what it likes.
  authority etcd-ca
  certificate etcd etcd-ca /CN=etcd IP:127.0.0.1
  # Signs the tokens of service accounts.
  openssl ecparam -genkey -noout -name prime256v1 -out "$pki/tokens.key"
  openssl ec -in "$pki/tokens.key" -pubout -out "$pki/tokens.pub" 2>/dev/null
  kubeconfig "$DIR/kubeconfig" admin
  kubeconfig "$DIR/conf/controller-manager.kubeconfig" controller-manager
  kubeconfig "$DIR/conf/scheduler.kubeconfig" scheduler

  # Nothing is kept, so nothing needs to reach the disk: it is most of the latency on a busy machine.
  start etcd "$PROGRAMS/etcd" --name test --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "https://127.0.0.1:$etcd" --advertise-client-urls "https://127.0.0.1:$etcd" \
    --listen-peer-urls "https://127.0.0.1:$peer" --initial-advertise-peer-urls "https://127.0.0.1:$peer" \
    --initial-cluster "test=https://127.0.0.1:$peer" \
    --client-cert-auth --trusted-ca-file "$pki/etcd-ca.crt" --cert-file "$pki/etcd.crt" --key-file "$pki/etcd.key" \
    --peer-client-cert-auth --peer-trusted-ca-file "$pki/etcd-ca.crt" --peer-cert-file "$pki/etcd.crt" --peer-key-file "$pki/etcd.key"

  # A loopback address may not stand in endpoints: those of the Service `kubernetes` are written only where a node can reach them.
  local endpoints=lease
  case $address in 127.*) endpoints=none ;; esac
  start kube-apiserver "$PROGRAMS/kube-apiserver" --bind-address "$address" --advertise-address "$address" --secure-port "$api" \
    --service-cluster-ip-range "$services" --endpoint-reconciler-type "$endpoints" \
    --etcd-servers "https://127.0.0.1:$etcd" --etcd-cafile "$pki/etcd-ca.crt" --etcd-certfile "$pki/etcd.crt" --etcd-keyfile "$pki/etcd.key" \
    --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged --profiling=false \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$pki/tokens.pub" --service-account-signing-key-file "$pki/tokens.key" \
    --kubelet-preferred-address-types InternalIP --kubelet-certificate-authority "$pki/ca.crt" \
    --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key"
  wait_for 90 "ready API server" kube-apiserver kubectl get --raw /readyz

  # At the usual 20 requests a second some 50 controllers wait for each other for seconds. Port 0: nobody asks for their metrics.
  local clients=(--secure-port 0 --leader-elect=false --kube-api-qps 500 --kube-api-burst 1000)
  start kube-controller-manager "$PROGRAMS/kube-controller-manager" --kubeconfig "$DIR/conf/controller-manager.kubeconfig" "${clients[@]}" \
    --use-service-account-credentials --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/tokens.key"
  start kube-scheduler "$PROGRAMS/kube-scheduler" --kubeconfig "$DIR/conf/scheduler.kubeconfig" "${clients[@]}"

  # Controllers make these; no pod is admitted without the one nor starts without the other.
  wait_for 60 "ServiceAccount default" kube-controller-manager kubectl get serviceaccount default
  wait_for 60 "ConfigMap kube-root-ca.crt" kube-controller-manager kubectl get configmap kube-root-ca.crt
}
