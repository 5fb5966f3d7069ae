#!/bin/sh
# Makes users and policies of MinIO from what the Secrets say. May run again at any time: a user that is there gets its password anew.
set -eu
policies=$(dirname "$0")
export MC_CONFIG_DIR=/tmp/mc
export MC_HOST_store="${MINIO_URL%%://*}://$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD@${MINIO_URL#*://}"

until mc --quiet ready store >/dev/null 2>&1; do
  echo "waiting for MinIO at $MINIO_URL"
  sleep 1
done

mc --quiet admin policy create store graft-store "$policies/store-policy.json"
mc --quiet admin policy create store graft-pictures "$policies/pictures-policy.json"

# user USER PASSWORD POLICY
user() {
  mc --quiet admin user add store "$1" "$2" >/dev/null
  # Refused where the user has the policy already: what counts is that it has it.
  refusal=$(mc --quiet admin policy attach store "$3" --user "$1" 2>&1) || true
  found=$(mc --json admin user info store "$1")
  case "$found" in
    *"\"policyName\":\"$3\""*) echo "user $1 has the policy $3" ;;
    *) echo "user $1 has not got the policy $3: $refusal; found $found" >&2; exit 1 ;;
  esac
}
user "$COORDINATOR_ACCESS_KEY" "$COORDINATOR_SECRET_KEY" graft-store
user "$WORKERS_ACCESS_KEY" "$WORKERS_SECRET_KEY" graft-store
user "$PICTURES_ACCESS_KEY" "$PICTURES_SECRET_KEY" graft-pictures
