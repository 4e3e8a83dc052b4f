#!/bin/sh
# This project, as a peer of the benchmark. Its interpreter: $CMKMS_TEST_PYTHON.
set -eu
# shellcheck disable=SC2086 # a list
set -- $CMKMS_BENCH_PORTS

# node NUMBER RAFT-PORT HTTP-PORT [--peer NAME=ADDRESS]...
node() {
	home=$CMKMS_BENCH_HOME/node$1 raft=127.0.0.1:$2 http=127.0.0.1:$3 id=node$1
	shift 3
	"$CMKMS_TEST_PYTHON" -m cometkms init --home "$home" --chain-id "$CMKMS_BENCH_CHAIN" --validator-addr "$CMKMS_BENCH_ADDRESS"
	install -m 600 "$CMKMS_BENCH_KEY" "$home/priv/priv_validator_key.json"
	echo '{"height":"0","round":0,"step":0}' >"$home/priv/priv_validator_state.json"
	exec "$CMKMS_TEST_PYTHON" -m cometkms start --home "$home" --id "$id" --raft-addr "$raft" --http-addr "$http" "$@"
}

if [ "$CMKMS_BENCH_NODES" = 1 ]; then
	node 0 "$1" "$2"
fi
peers="--peer node0=127.0.0.1:$1 --peer node1=127.0.0.1:$3 --peer node2=127.0.0.1:$5"
# shellcheck disable=SC2086 # a list
{
	{ (node 0 "$1" "$2" $peers) || true; kill 0; } &
	{ (node 1 "$3" "$4" $peers) || true; kill 0; } &
	{ (node 2 "$5" "$6" $peers) || true; kill 0; } &
}
wait
