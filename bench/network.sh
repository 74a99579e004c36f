#!/usr/bin/env bash
# How long the mean of the gradients of ResNet-18 takes (44.7 MB) between nodes on a slow network: network namespaces of this
# machine, each behind a link of a certain rate in both directions (tc). All share this machine's processors: with many
# nodes, or a fast network, these are the limit, and not the network. As root.
#
#   NODES="2 4 8" RATES="1gbit 10gbit" SUMS=20 bench/network.sh
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "network.sh: run as root, which network namespaces need" >&2; exit 1; }
nodes=${NODES:-2 4 8} rates=${RATES:-1gbit 10gbit} sums=${SUMS:-20} name=rn$$
export OMP_NUM_THREADS=1

dir=$(mktemp -d)
leave() {
  ip netns list | awk -v prefix="$name-" 'index($1, prefix) == 1 { print $1 }' | xargs -rn1 ip netns del
  ip link del "$name" 2>/dev/null || true
  rm -rf "$dir"
}
trap leave EXIT
go test -c -o "$dir/node" ./trainer/group

connect() { # COUNT RATE: nodes 0 … COUNT-1 at 10.213.0.1 and up
  ip link add "$name" type bridge && ip link set "$name" up
  for i in $(seq 0 $(($1 - 1))); do
    ip netns add "$name-$i"
    ip link add "$name.$i" type veth peer name eth0 netns "$name-$i"
    ip link set "$name.$i" master "$name" up
    ip -n "$name-$i" address add "10.213.0.$((i + 1))/24" dev eth0
    ip -n "$name-$i" link set eth0 up
    ip -n "$name-$i" link set lo up
    tc qdisc add dev "$name.$i" root tbf rate "$2" burst 2mb latency 50ms
    tc -n "$name-$i" qdisc add dev eth0 root tbf rate "$2" burst 2mb latency 50ms
  done
}
disconnect() {
  for i in $(seq 0 $(($1 - 1))); do ip netns del "$name-$i"; done
  ip link del "$name"
}
measure() { # COUNT PLAIN COMPRESS
  local pids=() pid
  rm -rf "$dir/folder" && mkdir "$dir/folder"
  for i in $(seq 0 $(($1 - 1))); do
    NODE="$i/$1" ADDRESS="10.213.0.$((i + 1))" FOLDER="$dir/folder" PLAIN=$2 COMPRESS=$3 ip netns exec "$name-$i" \
      "$dir/node" -test.run '^$' -test.bench '^BenchmarkNode$' -test.benchtime "${sums}x" >"$dir/node-$i" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || { cat "$dir"/node-* >&2; exit 1; }; done
  awk '/median-ms/ { for (i = 2; i <= NF; i++) if ($i == "median-ms") print $(i - 1) }' "$dir/node-0" | tail -n 1
}

printf '%-8s %6s %14s %14s %14s %14s\n' network nodes "TLS, ms" "TLS, BF16" "plain, ms" "plain, BF16"
for rate in $rates; do
  for count in $nodes; do
    connect "$count" "$rate"
    printf '%-8s %6d %14.0f %14.0f %14.0f %14.0f\n' "$rate" "$count" "$(measure "$count" false false)" \
      "$(measure "$count" false true)" "$(measure "$count" true false)" "$(measure "$count" true true)"
    disconnect "$count"
  done
done
