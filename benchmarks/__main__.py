"""Run all, print tables, write bench-out/bench.json."""

import json
import os
import platform
from pathlib import Path

from benchmarks import cluster, end_to_end, micro


def main() -> None:
    rows = micro.run()
    print(f"{'function':44} {'C, ns':>10} {'Python, ns':>12} {'ratio':>7}")
    for row in rows:
        print(f"{row['what']:44} {row['native_ns']:>10} {row['pure_ns'] or '':>12} {row['ratio'] or '':>7}")
    found = end_to_end.run()
    print(
        f"\n{'one node, microseconds':24}" + "".join(f"{name:>12}" for name in next(iter(found["latency_us"].values())))
    )
    for name, values in found["latency_us"].items():
        print(f"{name:24}" + "".join(f"{value:>12}" for value in values.values()))
    print(
        f"\nmemory of all processes (PSS) {found['node']['pss_mib']} MiB, CPU {found['node']['cpu_s_per_1000']} s per 1,000 signatures"
    )
    three = cluster.run()
    print(
        f"\n{'three nodes, microseconds':28}"
        + "".join(f"{name:>12}" for name in next(iter(three["latency_us"].values())))
    )
    for name, values in three["latency_us"].items():
        print(f"{name:28}" + "".join(f"{value:>12}" for value in values.values()))
    print(f"\n{'the leader goes':16}{'rounds':>8}{'p50, ms':>10}{'max, ms':>10}   without a signature")
    for name, values in three["failover"].items():
        print(f"{name:16}{values['rounds']:>8}{values['p50_ms']:>10}{values['max_ms']:>10}")
    facts = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    out = Path("bench-out")
    out.mkdir(exist_ok=True)
    (out / "bench.json").write_text(json.dumps({"facts": facts, "micro": rows, **found, "cluster": three}, indent=2))
    print(f"written: {out / 'bench.json'}")


if __name__ == "__main__":
    main()
