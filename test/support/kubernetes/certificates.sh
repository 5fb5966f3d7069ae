# shellcheck shell=bash
# Keys, certificates and kubeconfigs of a cluster, in DIR/pki and DIR/conf; they live as long as the cluster.

issue() { # issue NAME SUBJECT EXTENSIONS [OPENSSL ARGUMENT...]
  local name=$1 subject=$2 extensions=$3
  shift 3
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "$subject" \
    -config <(printf '[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n%b\n' "$extensions") \
    -keyout "$DIR/pki/$name.key" -out "$DIR/pki/$name.crt" "$@" 2>"$DIR/log/openssl.log" || fail_with_log openssl "no certificate $name"
}

authority() { # authority NAME
  issue "$1" "/CN=$1" 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash'
}

certificate() { # certificate NAME AUTHORITY SUBJECT [ALTERNATIVE NAMES]
  issue "$1" "$3" "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\nauthorityKeyIdentifier=keyid${4:+\nsubjectAltName=$4}" \
    -CA "$DIR/pki/$2.crt" -CAkey "$DIR/pki/$2.key"
}

kubeconfig() { # kubeconfig FILE NAME: for the user of certificate NAME. All inline, so that it can be copied and mounted.
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
current-context: test
contexts: [{ name: test, context: { cluster: test, user: $2 } }]
clusters: [{ name: test, cluster: { server: "$SERVER", certificate-authority-data: $(base64 -w0 <"$DIR/pki/ca.crt") } }]
users: [{ name: $2, user: { client-certificate-data: $(base64 -w0 <"$DIR/pki/$2.crt"), client-key-data: $(base64 -w0 <"$DIR/pki/$2.key") } }]
YAML
  chmod 600 "$1"
}

kubectl() {
  "$PROGRAMS/kubectl" --kubeconfig "$DIR/kubeconfig" --cache-dir "$DIR/kubectl-cache" --request-timeout 5s "$@"
}
