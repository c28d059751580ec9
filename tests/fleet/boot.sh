#!/bin/bash
# Boots one host of fleet.py, and again when it reboots, until it is powered off. SIGTERM powers it off.
#
#   boot.sh NAME DIR BASE POOL ADDRESS/LENGTH ROUTER CONTROLLER
#
# DIR/upper keeps what the host writes over BASE; CONTROLLER is the network namespace with the bridge br0.
#
# Everything mounted here is in a mount namespace of its own and goes away with it. As on a machine, each boot
# finds a network that knows nothing of the one before.
set -euo pipefail
[[ ${UNSHARED:-} ]] || UNSHARED=1 exec unshare --mount --propagation private "$0" "$@"
name=$1 dir=$2 base=$3 pool=$4 address=$5 router=$6 controller=$7
export name dir pool address router controller

# systemd wants the second version of control groups, whatever this machine has; and its own /run/systemd
# would be nspawn's.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run/systemd
mount -t overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
cgroup=/sys/fs/cgroup/$controller-$name
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_SECCOMP=0

boot() {
  local port=p-$name octets=${address%/*} mac
  mac=02:00$(printf ':%02x' ${octets//./ }) # the same card each time
  ip -n "$controller" link del "$port" 2>/dev/null || true
  ip -n "$controller" link add "$port" type veth peer name eth0 address "$mac" netns $$
  ip -n "$controller" link set "$port" master br0 up
  ip link set lo up
  ip addr add "$address" dev eth0
  ip link set eth0 up
  ip route add default via "$router"
  exec setpriv --pdeathsig TERM systemd-nspawn --quiet --directory="$dir/root" \
    --machine="$name" --boot --register=no --keep-unit --capability=all \
    --network-namespace-path=/proc/self/ns/net --bind=/dev/net/tun --bind-ro="$pool:/srv/pool" \
    --console=pipe --resolv-conf=off --timezone=off --link-journal=no
}
export -f boot

nspawn='' ending=''
trap 'ending=1; [[ -z $nspawn ]] || kill -TERM "$nspawn"' TERM
status=133 # what nspawn ends with when the host reboots
while ((status == 133)) && [[ -z $ending ]]; do
  [[ ! -d $cgroup ]] || find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} \;
  mkdir -p "$cgroup"
  (
    echo "$BASHPID" >"$cgroup/cgroup.procs"
    exec unshare --net bash -euc boot
  ) </dev/null &
  nspawn=$!
  while [[ -d /proc/$nspawn ]]; do # `wait` ends early at a signal
    wait "$nspawn" && status=0 || status=$?
  done
  nspawn=''
done

# What outlived its PID 1 is in the group, and nothing else is.
if grep -q 'populated 1' "$cgroup/cgroup.events"; then
  echo 1 >"$cgroup/cgroup.kill"
  for _ in {1..50}; do
    grep -q 'populated 1' "$cgroup/cgroup.events" || break
    sleep 0.1
  done
fi
find "$cgroup" -depth -type d -exec rmdir {} \;
