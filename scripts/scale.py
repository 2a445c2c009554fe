#!/usr/bin/env python3
"""Makes a large synthetic journal in a temporary folder and prints what `ipcost report` needs for it.

Needs: Linux, python3 (3.9 or newer, standard library only) and a release build (cargo build --release;
$CARGO_TARGET_DIR is honoured). Nothing is measured about communication: the lines look like real ones, the numbers in
them are drawn from a fixed seed.

Exit status: 0 when the report kept the limits, 1 when it did not or failed, 2 when the build is missing.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
MECHANISMS = ["pipe", "unix-stream", "shm-ring", "shm-slot", "mmap-file", "posix-shm", "file", "local-socket"]
WAITS = ["block", "yield", "spin", "hybrid"]


def cells(count):
    """Distinct cells: twins of every mechanism in as many classes as it takes, the first of a class twice."""
    size, made = 64, 0
    while True:
        for wait in WAITS:
            group = [(m, p, None) for m in MECHANISMS for p in ("process", "thread")]
            for mechanism, parties, label in group + [(*group[0][:2], "again")]:
                if made == count:
                    return
                made += 1
                yield {"mechanism": mechanism, "workload": "ping-pong", "size": size, "wait": wait, "parties": parties,
                       "touch": "whole", "placement": "cross-cpu", "label": label, "base": 500 + 37 * (made % 97)}
        size += 8


def edge(ns):
    """The upper edge of the two-digit histogram step that holds a latency, as real journals have it."""
    return ns | ((1 << max(0, ns.bit_length() - 8)) - 1)


def line(cell, position, round_, rng):
    """One run, about as long as a real one."""
    ns = cell["base"] * rng.uniform(0.9, 1.1)
    start = int(ns * 0.8)
    steps = sorted({edge(int(start * 1.005**i)) for i in range(rng.randint(60, 200))})
    histogram = [[step, rng.randint(1, 2000)] for step in steps]
    pair = [{"user": ns * 0.3, "system": ns * 0.6}] * 2
    flags = ["line-floor-moved"] if rng.random() < 0.3 else []
    return json.dumps({
        "schema": 1, **{k: cell[k] for k in ("mechanism", "workload", "size", "wait", "parties", "touch")},
        "placement": {"requested": cell["placement"], "cpus": [0, 1], "observed": [[0], [1]], "migrations": [0, 1]},
        "run": {"round": round_, "order": position, "seed": 1, "started": "2026-01-01T00:00:00.000Z",
                "label": cell["label"]},
        "messages": 10000, "bytes": 10000 * cell["size"], "elapsed_ns": int(ns * 10000),
        "rtt_ns": {"mean": ns, "min": start, "p50": int(ns), "p90": int(ns * 1.2), "p99": int(ns * 2),
                   "max": int(ns * 9), "stamped_mean": ns + 20, "histogram": histogram},
        "throughput": {"messages_per_s": 1e9 / ns, "bytes_per_s": cell["size"] * 1e9 / ns},
        "setup_ns": 123456, "first_message_ns": 65432, "warm_up_messages": 2000,
        "cpu_ns_per_message": pair, "switches_per_message": [{"voluntary": 1.01, "involuntary": 0.001}] * 2,
        "faults": [{"minor": 3, "major": 0}] * 2, "pids": [1000, 1001],
        "verified": {"messages": 10000, "bytes": 10000 * cell["size"]},
        "floor": {"line_rtt_ns": [84.1, 85.0], "kind": "futex", "handover_rtt_ns": [ns * 0.8, ns * 0.81],
                  "multiple": 1.25},
        "timer": {"cost_ns": 21.5, "tick_ns": 1}, "notes": {"capacity, bytes": "65536"},
        "status": "ok", "flags": flags, "invalid": None,
    }, separators=(",", ":"))


def journal(folder, runs, count):
    rng = random.Random(1)
    made = list(cells(count))
    (folder / "host.json").write_text(json.dumps({
        "slug": "synthetic", "cpu": "none", "cpus": 2, "allowed": [0, 1], "hypervisor": "none", "kernel": "none",
        "facts": {}, "build": {}, "taken": "2026-01-01T00:00:00.000Z"}))
    (folder / "campaign.json").write_text(json.dumps({"seed": 1, "rounds": 0, "cells": [], "unsupported": []}))
    with open(folder / "cells.jsonl", "w", encoding="utf-8") as out:
        for position in range(runs):
            round_, index = divmod(position, count)
            out.write(line(made[index], position, round_, rng) + "\n")
    return (folder / "cells.jsonl").stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--cells", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=5, help="limit of time")
    parser.add_argument("--mebibytes", type=float, default=200, help="limit of resident memory")
    args = parser.parse_args()
    binary = TARGET / "release" / "ipcost"
    if not binary.exists():
        print(f"scale.py: {binary} does not exist; run cargo build --release", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ipcost-scale-") as name:
        size = journal(Path(name), args.runs, args.cells)
        start = time.monotonic()
        status = subprocess.run([str(binary), "report", name], stdout=subprocess.DEVNULL, check=False).returncode
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{args.runs} runs of {args.cells} cells, {size / args.runs:.0f} bytes a line, {size / 1e6:.0f} MB")
    print(f"ipcost report: {seconds:.2f} s (limit {args.seconds:g}), {peak:.0f} MiB (limit {args.mebibytes:g})")
    return int(status != 0 or seconds > args.seconds or peak > args.mebibytes)


if __name__ == "__main__":
    sys.exit(main())
