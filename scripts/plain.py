#!/usr/bin/env python3
"""Compares ipcost with the plainest C programs that do the same, paired and interleaved.

Needs: Linux, python3 (3.9 or newer, standard library only), gcc, two allowed CPUs for the cross-cpu rows, and a release
build of this repository (cargo build --release; $CARGO_TARGET_DIR is honoured).

What happens: for each comparison and launch both sides are started afresh and stay alive together, ipcost as
`ipc-MECHANISM cell --serve`, the plain one from scripts/plain/plain.c. Short windows then alternate A,B,B,A; only one side
works at a time and the other one sleeps, which is checked. A pair of neighbouring windows gives one ratio of times
per message, a launch the median of its pairs, and the table the median of the launches with an order-statistic
interval over them (with six launches: smallest to largest, which covers the median with a probability of 97 %).
Launches go round all comparisons, so that a slow drift of the machine meets each of them alike. A ratio above 1 means
that A is slower.

Exit status: 0 after a table, 1 when a side failed, 2 when something that is needed is missing.
"""

import argparse
import json
import math
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SOURCE = ROOT / "scripts" / "plain" / "plain.c"
PLAIN = TARGET / "plain" / "plain"
COMPILE = ["gcc", "-std=c11", "-O3", "-Wall", "-Wextra"]
PATIENCE_S = 30


class Broken(Exception):
    """A side did not do what it was asked."""


def missing(what):
    print(f"plain.py: {what}", file=sys.stderr)
    sys.exit(2)


# ---- What is compared with what -------------------------------------------------------------------------------------


class Ipcost:
    """A side that is a cell of ipcost."""

    def __init__(self, mechanism, workload, size, wait, placement, parties="process"):
        self.label = f"ipcost {mechanism}"
        self.binary = TARGET / "release" / f"ipc-{mechanism}"
        self.command = [str(self.binary), "cell", "--serve"]
        self.plan = {
            "mechanism": mechanism,
            "workload": workload,
            "size": size,
            "wait": wait,
            "parties": parties,
            "touch": "whole",
            "placement": placement,
            "span": {"millis": 1000},
        }


class Plain:
    """A side that is scripts/plain/plain.c, on the CPUs that ipcost chooses for the same placement."""

    def __init__(self, mech, workload, size, placement, cpus):
        self.label = f"plain {mech}"
        pair = [cpus[-1], cpus[-1]] if placement == "same-cpu" else cpus[:2]
        self.binary = PLAIN
        self.command = [str(PLAIN), mech, workload, str(size), *map(str, pair)]
        self.plan = None


def comparisons(cpus):
    """Every row: its name and its sides A and B."""
    rows = []

    def row(name, a, b):
        rows.append((name, a, b))

    for mech in ("pipe", "unix-stream"):
        for workload in ("ping-pong", "stream"):
            for size in (64, 4096, 65536):
                for placement in ("same-cpu", "cross-cpu"):
                    row(
                        f"{mech} {workload} {size} B {placement}",
                        Ipcost(mech, workload, size, "block", placement),
                        Plain(mech, workload, size, placement, cpus),
                    )
    cross = "cross-cpu"
    for size in (64, 65536):
        row(
            f"shm-ring stream {size} B spin",
            Ipcost("shm-ring", "stream", size, "spin", cross),
            Plain("ring", "stream", size, cross, cpus),
        )
    for mech, plain, title in (
        ("shm-ring", "line", "shm-ring ping-pong 64 B spin / bare line"),
        ("shm-slot", "line", "shm-slot ping-pong 64 B spin / bare line"),
        ("shm-slot", "slot-less", "shm-slot ping-pong 64 B spin / stamp and message"),
    ):
        row(
            title,
            Ipcost(mech, "ping-pong", 64, "spin", cross),
            Plain(plain, "ping-pong", 64, cross, cpus),
        )
    row(
        "heap-ring threads / shm-ring processes, stream 64 B spin",
        Ipcost("heap-ring", "stream", 64, "spin", cross, parties="thread"),
        Ipcost("shm-ring", "stream", 64, "spin", cross),
    )
    if len(cpus) < 2:
        print("plain.py: one CPU is allowed here: only the same-cpu rows are compared", file=sys.stderr)
        rows = [r for r in rows if r[0].endswith("same-cpu")]
    return rows


# ---- A running side -------------------------------------------------------------------------------------------------


class Cell:
    """A started side that carries messages when told to and sleeps in between."""

    def __init__(self, side):
        self.side = side
        self.rest = b""
        self.process = subprocess.Popen(side.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            if side.plan is not None:
                self.say(json.dumps(side.plan))
            line = self.hear()
            if line != "ready":
                raise Broken(f"{side.label}: {reason(line)}")
        except BaseException:
            self.kill()
            raise

    def say(self, line):
        try:
            self.process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise Broken(f"{self.side.label} ended early") from None

    def hear(self):
        fd = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if not select.select([fd], [], [], PATIENCE_S)[0]:
                raise Broken(f"{self.side.label} said nothing for {PATIENCE_S} s")
            part = os.read(fd, 65536)
            if not part:
                raise Broken(f"{self.side.label} ended early")
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def carry(self, messages):
        """Time per message in ns."""
        self.say(str(messages))
        line = self.hear()
        if not line.isdigit():
            raise Broken(f"{self.side.label}: {reason(line)}")
        return int(line) / messages

    def end(self):
        """Lets it end by itself; ipcost then says what it thinks of its last window."""
        self.process.stdin.close()
        if self.side.plan is not None:
            outcome = json.loads(self.hear())
            if outcome["status"] != "ok":
                raise Broken(f"{self.side.label}: {outcome['status']}: {outcome.get('reason')}")
        if self.process.wait(PATIENCE_S) != 0:
            raise Broken(f"{self.side.label} ended with status {self.process.returncode}")
        self.process.stdout.close()

    def kill(self):
        """Ends it, and with it its child, which asked to die with its parent."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def cpu_ns(self):
        """CPU time so far of all its threads and of its child; None where the kernel does not tell."""
        total = 0
        try:
            for pid in [str(self.process.pid), *children(self.process.pid)]:
                for task in os.listdir(f"/proc/{pid}/task"):
                    total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return total


def children(parent):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if after_name[1] == str(parent):
            yield pid


def reason(line):
    """What an outcome that came instead of an answer says."""
    try:
        return json.loads(line)["reason"]
    except (ValueError, KeyError, TypeError):
        return f"unexpected answer {line!r}"


def check_asleep(cells):
    """Both sides have nothing to do now: a side that burns CPU all the same would slow the other one down."""
    time.sleep(0.005)
    before = [cell.cpu_ns() for cell in cells]
    start = time.monotonic_ns()
    time.sleep(0.03)
    elapsed = time.monotonic_ns() - start
    for cell, was in zip(cells, before):
        now = cell.cpu_ns()
        if was is not None and now is not None and now - was > 0.05 * elapsed:
            share = (now - was) / elapsed
            raise Broken(f"{cell.side.label} used {share:.0%} of a CPU between its windows")


def calibrate(cells, window_ns):
    """Messages that the slower side carries in a window."""
    counts = []
    for cell in cells:
        n = 10
        while True:
            took = n * cell.carry(n)
            if took >= window_ns / 3:
                break
            n = max(n + 1, min(10 * n, int(n * window_ns / max(took, 1))))
        counts.append(n * window_ns / took)
    return max(2, int(min(counts)))


def launch(a, b, pairs, window_ns, b_first):
    """Both sides, started afresh: messages per window and pairs of times per message."""
    cells = []
    try:
        for side in (b, a) if b_first else (a, b):
            cells.append(Cell(side))
        if b_first:
            cells.reverse()
        messages = calibrate(cells, window_ns)
        check_asleep(cells)
        times = []
        # One pair more than counted: each side has just slept while the other one was calibrated.
        for pair in range(pairs + 1):
            both = [0.0, 0.0]
            order = (0, 1) if (pair % 2 == 0) != b_first else (1, 0)
            for which in order:
                both[which] = cells[which].carry(messages)
            if pair > 0:
                times.append(both)
        for cell in cells:
            cell.end()
        return messages, times
    finally:
        for cell in cells:
            cell.kill()


# ---- Figures --------------------------------------------------------------------------------------------------------


def interval(values):
    """Order-statistic interval for the median and its coverage: the narrowest that covers 95 %, else the widest."""
    values, n = sorted(values), len(values)
    outside = 0.0
    low, coverage = 0, 1 - 2 * 0.5**n
    for k in range(n // 2):
        outside += math.comb(n, k) * 0.5**n
        if 1 - 2 * outside < 0.95 and k > 0:
            break
        low, coverage = k, 1 - 2 * outside
    return values[low], values[n - 1 - low], max(coverage, 0.0)


def summary(name, a, b, launches):
    ratios = [statistics.median(x / y for x, y in times) for _, times in launches]
    low, high, coverage = interval(ratios)
    typical = [statistics.median(statistics.median(t[i] for t in times) for _, times in launches) for i in (0, 1)]
    return {
        "name": name,
        "a": a.label,
        "b": b.label,
        "a_ns": typical[0],
        "b_ns": typical[1],
        "ratio": statistics.median(ratios),
        "low": low,
        "high": high,
        "coverage": coverage,
        "launches": [
            {"messages": messages, "ratio": ratio, "pairs_ns": times}
            for (messages, times), ratio in zip(launches, ratios)
        ],
    }


def figure(ns):
    return f"{ns:.0f}" if ns >= 1000 else f"{ns:.3g}"


def table(rows):
    head = ("comparison (A / B)", "A ns", "B ns", "A/B", "interval")
    body = [
        (
            row["name"],
            figure(row["a_ns"]),
            figure(row["b_ns"]),
            f"{row['ratio']:.3f}",
            f"{row['low']:.3f} .. {row['high']:.3f}",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    for line in [head, *body]:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip())


# ---- The command ----------------------------------------------------------------------------------------------------


def build():
    if shutil.which(COMPILE[0]) is None:
        missing("gcc is needed to build scripts/plain/plain.c, and it is not there")
    PLAIN.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run([*COMPILE, "-o", str(PLAIN), str(SOURCE)]).returncode != 0:
        missing("gcc could not build scripts/plain/plain.c")


def at_least_one(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="only comparisons with this in their name")
    parser.add_argument("--launches", metavar="N", type=at_least_one, default=6, help="fresh starts of both sides [6]")
    parser.add_argument("--pairs", metavar="N", type=at_least_one, default=20, help="pairs of windows per launch [20]")
    parser.add_argument("--window", metavar="MS", type=at_least_one, default=30, help="length of a window in ms [30]")
    parser.add_argument("--json", metavar="FILE", help="also write every window's time there")
    args = parser.parse_args()
    if sys.platform != "linux":
        missing("this needs Linux")

    cpus = sorted(os.sched_getaffinity(0))
    chosen = [row for row in comparisons(cpus) if args.only in row[0]]
    if not chosen:
        missing(f"no comparison has {args.only!r} in its name")
    for _, *sides in chosen:
        for side in sides:
            if isinstance(side, Ipcost) and not side.binary.exists():
                missing(f"{side.binary} is needed: run `cargo build --release` first")
    build()
    load = os.getloadavg()[0]
    if load > 0.3 * len(cpus):
        busy = f"load average {load:.2f} on {len(cpus)} CPUs: something else runs, expect noise"
        print(f"plain.py: {busy}", file=sys.stderr)

    done = {name: [] for name, _, _ in chosen}
    try:
        for number in range(args.launches):
            for at, (name, a, b) in enumerate(chosen):
                print(f"launch {number + 1}/{args.launches}  {at + 1}/{len(chosen)}  {name}", file=sys.stderr)
                done[name].append(launch(a, b, args.pairs, args.window * 1e6, b_first=number % 2 == 1))
    except (Broken, subprocess.TimeoutExpired) as error:
        print(f"plain.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("plain.py: interrupted", file=sys.stderr)
        return 130

    rows = [summary(name, a, b, done[name]) for name, a, b in chosen]
    table(rows)
    print(
        f"\nA is ipcost and B is plain C unless the name says otherwise; ns per message (ping-pong: per round trip).\n"
        f"A/B: median over {args.launches} fresh launches of the median over {args.pairs} pairs of {args.window} ms windows;\n"
        f"interval: order statistics over launches, coverage {rows[0]['coverage']:.0%}."
    )
    if args.json:
        version = subprocess.run([COMPILE[0], "--version"], capture_output=True, text=True).stdout.splitlines()
        settings = {
            "launches": args.launches,
            "pairs": args.pairs,
            "window_ms": args.window,
            "cpus": cpus,
            "load_before": load,
            "kernel": platform.release(),
            "compile": COMPILE,
            "gcc": version[0] if version else "",
        }
        Path(args.json).write_text(json.dumps({"settings": settings, "rows": rows}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
