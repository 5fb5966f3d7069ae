# shellcheck shell=bash
# Processes of a cluster: all are children of cluster.sh, so that no process id can come to mean another process, and the kernel ends them should cluster.sh be killed.

declare -A PIDS=()

fail() {
  echo "kubernetes: $*" >&2
  exit 1
}

start() { # start NAME COMMAND...
  local name=$1
  shift
  setpriv --pdeathsig KILL "$@" </dev/null >"$DIR/log/$name.log" 2>&1 &
  PIDS[$name]=$!
}

# Waits a little. Whoever wanted the cluster holds our standard input: once it is closed there is nothing to wait for.
pause() {
  read -rt 0.1 _ || (($? > 128)) || fail "given up: standard input was closed"
}

wait_for() { # wait_for SECONDS WHAT NAME COMMAND...: until COMMAND succeeds; fails early where process NAME ends
  local until=$((SECONDS + $1)) what=$2 name=$3
  shift 3
  until "$@" </dev/null >/dev/null 2>&1; do
    kill -0 "${PIDS[$name]}" 2>/dev/null || fail_with_log "$name" "$name ended before there was a $what"
    ((SECONDS < until)) || fail_with_log "$name" "no $what in time"
    pause
  done
}

fail_with_log() { # fail_with_log NAME MESSAGE
  tail -n 20 "$DIR/log/$1.log" >&2
  fail "$2; the end of its log stands above"
}

# Killed, not asked: nothing is kept, and an API server takes seconds to end politely.
end_everything() {
  trap '' INT TERM HUP
  # The first process of a node takes all that runs there with it, containers and mounts too; `unshare` around it ends once that is done.
  [ -z "${PIDS[init]:-}" ] || unset "PIDS[unshare]"
  local pid
  for pid in "${PIDS[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  { wait; } 2>/dev/null
  # Without its link an address of the node leads to the default route, where somebody else may answer.
  rm -f "$DIR/kubeconfig"
  remove_network_and_cgroups
}

# Below the kernel's range for outgoing connections, so that no client can take the port between this look and the server's bind.
declare -A PORTS=()
free_port() { # free_port: sets PORT
  while :; do
    PORT=$((20000 + RANDOM % 10000))
    [ -z "${PORTS[$PORT]:-}" ] || continue
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
      PORTS[$PORT]=taken
      return
    fi
  done
}
