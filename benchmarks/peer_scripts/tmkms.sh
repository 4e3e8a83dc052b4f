#!/bin/sh
# tmkms with a key in a file (softsign) as a peer of the benchmark (docs/BENCHMARKS.md): $CMKMS_BENCH_TMKMS, else tmkms on
# the PATH, built with --features=softsign.
set -eu

if [ "$CMKMS_BENCH_NODES" != 1 ]; then
	echo "tmkms is one process, it has no cluster" >&2
	exit 77
fi
binary=${CMKMS_BENCH_TMKMS:-tmkms}
command -v "$binary" >/dev/null || {
	echo "no binary $binary; name tmkms in CMKMS_BENCH_TMKMS" >&2
	exit 77
}

home=$CMKMS_BENCH_HOME
"$binary" softsign import "$CMKMS_BENCH_KEY" "$home/consensus.key"
"$binary" softsign keygen --type consensus "$home/identity.key"
cat >"$home/tmkms.toml" <<EOF
[[chain]]
id = "$CMKMS_BENCH_CHAIN"
key_format = { type = "hex" }
sign_extensions = true
state_file = "$home/state.json"

[[validator]]
chain_id = "$CMKMS_BENCH_CHAIN"
addr = "$CMKMS_BENCH_ADDRESS"
secret_key = "$home/identity.key"
protocol_version = "v0.38"

[[providers.softsign]]
chain_ids = ["$CMKMS_BENCH_CHAIN"]
key_type = "consensus"
path = "$home/consensus.key"
EOF
exec "$binary" start --config "$home/tmkms.toml"
