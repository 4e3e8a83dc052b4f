#!/bin/sh
# Horcrux as a peer of the benchmark (docs/BENCHMARKS.md): $CMKMS_BENCH_HORCRUX, else horcrux on the PATH.
# One node: single-signer mode, which Horcrux itself does not support for validators. Three: threshold mode, two of three shards.
set -eu

binary=${CMKMS_BENCH_HORCRUX:-horcrux}
command -v "$binary" >/dev/null || {
	echo "no binary $binary; name Horcrux in CMKMS_BENCH_HORCRUX" >&2
	exit 77
}

# shellcheck disable=SC2086 # a list
set -- $CMKMS_BENCH_PORTS
p2p_1=tcp://127.0.0.1:$1 p2p_2=tcp://127.0.0.1:$2 p2p_3=tcp://127.0.0.1:$3

# cosigner NUMBER RAFT-TIMEOUT [--node ADDRESS]
cosigner() {
	home=$CMKMS_BENCH_HOME/cosigner_$1 timeout=$2
	shift 2
	"$binary" config init --home "$home" --mode threshold --threshold 2 --raft-timeout "$timeout" --grpc-timeout 1s \
		--cosigner "$p2p_1" --cosigner "$p2p_2" --cosigner "$p2p_3" "$@"
	exec "$binary" start --home "$home"
}

case $CMKMS_BENCH_NODES in
1)
	"$binary" config init --home "$CMKMS_BENCH_HOME" --mode single --node "$CMKMS_BENCH_ADDRESS"
	cp "$CMKMS_BENCH_KEY" "$CMKMS_BENCH_HOME/${CMKMS_BENCH_CHAIN}_priv_validator_key.json"
	exec "$binary" start --home "$CMKMS_BENCH_HOME" --accept-risk
	;;
3)
	"$binary" create-ed25519-shards --chain-id "$CMKMS_BENCH_CHAIN" --key-file "$CMKMS_BENCH_KEY" \
		--threshold 2 --shards 3 --out "$CMKMS_BENCH_HOME"
	"$binary" create-ecies-shards --shards 3 --out "$CMKMS_BENCH_HOME"
	# Each cosigner would dial a validator of its own, and one that does not lead passes requests on. The one validator of the
	# benchmark gets the best case: the first dials it and, as the others wait ten times as long for a leader, leads.
	# When one ends, all do.
	{ (cosigner 1 1s --node "$CMKMS_BENCH_ADDRESS") || true; kill 0; } &
	{ (cosigner 2 10s) || true; kill 0; } &
	{ (cosigner 3 10s) || true; kill 0; } &
	wait
	;;
*)
	echo "one node or three, not $CMKMS_BENCH_NODES" >&2
	exit 77
	;;
esac
