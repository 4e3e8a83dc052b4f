#!/bin/sh
# The Go floor, as a peer of the benchmark. Its program: $CMKMS_TEST_FLOOR.
set -eu
# shellcheck disable=SC2086 # a list
set -- $CMKMS_BENCH_PORTS
one=127.0.0.1:$1 other=127.0.0.1:$2
set --
if [ "$CMKMS_BENCH_NODES" = 3 ]; then
	set -- "$one" "$other"
	for peer; do
		mkfifo "$CMKMS_BENCH_HOME/started-$peer"
		"$CMKMS_TEST_FLOOR" peer "$peer" "$CMKMS_BENCH_HOME/peer-$peer" >"$CMKMS_BENCH_HOME/started-$peer" &
		read -r _ <"$CMKMS_BENCH_HOME/started-$peer"
	done
fi
exec "$CMKMS_TEST_FLOOR" "$CMKMS_BENCH_ADDRESS" "$CMKMS_BENCH_CHAIN" "$CMKMS_BENCH_HOME/self" "$@"
