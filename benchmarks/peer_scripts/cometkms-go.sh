#!/bin/sh
# The Go CometKMS as a peer of the benchmark (docs/BENCHMARKS.md). Its command is called cmkms, as this project's is, so it is
# looked for as $CMKMS_BENCH_COMETKMS_GO, then as cometkms-go on the PATH. Its leader alone dials the validator.
set -eu

binary=${CMKMS_BENCH_COMETKMS_GO:-cometkms-go}
command -v "$binary" >/dev/null || {
	echo "no binary $binary; name the Go CometKMS in CMKMS_BENCH_COMETKMS_GO" >&2
	exit 77
}

# Two ports a node: Raft, HTTP.
# shellcheck disable=SC2086 # a list
set -- $CMKMS_BENCH_PORTS

prepare() {
	mkdir -p "$CMKMS_BENCH_HOME/$1/priv"
	cp "$CMKMS_BENCH_KEY" "$CMKMS_BENCH_HOME/$1/priv/priv_validator_key.json"
	echo '{"height":"0","round":0,"step":0}' >"$CMKMS_BENCH_HOME/$1/priv/priv_validator_state.json"
}

# node NAME RAFT-PORT HTTP-PORT [--peer NAME=ADDRESS]...
node() {
	name=$1 raft=$2 http=$3
	shift 3
	prepare "$name"
	exec "$binary" start --home "$CMKMS_BENCH_HOME/$name" --id "$name" --raft-addr "127.0.0.1:$raft" \
		--http-addr "127.0.0.1:$http" --chain-id "$CMKMS_BENCH_CHAIN" --validator-addr "$CMKMS_BENCH_ADDRESS" "$@"
}

case $CMKMS_BENCH_NODES in
1) node node0 "$1" "$2" ;;
3)
	# The same list for all; its first entry bootstraps the cluster. When one ends, all do.
	peers="--peer node0=127.0.0.1:$1 --peer node1=127.0.0.1:$3 --peer node2=127.0.0.1:$5"
	# shellcheck disable=SC2086 # a list
	{
		{ (node node0 "$1" "$2" $peers) || true; kill 0; } &
		{ (node node1 "$3" "$4" $peers) || true; kill 0; } &
		{ (node node2 "$5" "$6" $peers) || true; kill 0; } &
	}
	wait
	;;
*)
	echo "one node or three, not $CMKMS_BENCH_NODES" >&2
	exit 77
	;;
esac
