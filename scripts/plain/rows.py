"""What is compared with what: the table of comparisons, and the two kinds of sides."""

import os
import sys
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PLAIN = TARGET / "plain" / "plain"
SPOILED = TARGET / "plain" / "spoiled"
CHANNELS = TARGET / "release" / "examples" / "plain_channels"
# Heavy to build: its rows are there where somebody has built it.
FRAMEWORKS = TARGET / "release" / "examples" / "plain_frameworks"

BOTH = ("same-cpu", "cross-cpu")
CROSS = ("cross-cpu",)
TYPICAL = (64, 65536)

# A line stands for all its workloads, sizes, waits and placements. A twin of None is the plain program of the same name.
# Two parties that spin need two CPUs: their rows are cross-cpu whatever the line says.
Line = namedtuple(
    "Line", "mechanism twin sizes waits placements parties workloads",
    defaults=(None, TYPICAL, ("block",), BOTH, "process", ("ping-pong", "stream")),
)

LINES = [
    Line("pipe", sizes=(64, 4096, 65536)),
    Line("fifo"),
    Line("unix-stream", sizes=(64, 4096, 65536)),
    Line("pipe", sizes=(64,), waits=("poll", "epoll")),
    Line("unix-stream", sizes=(64,), waits=("poll", "epoll")),
    Line("local-socket", "unix-stream"),
    Line("unix-seqpacket"),
    Line("unix-dgram"),
    Line("tcp"),
    Line("udp", sizes=(64, 32768)),
    # What these two carry without a changed setting.
    Line("posix-mq", sizes=(64, 8192)),
    # Beside calls in place, too: how often a queue of ten sleeps depends on which side is the faster one.
    Line("posix-mq", "posix-mq-inplace", sizes=(64,), workloads=("stream",)),
    Line("sysv-mq", sizes=(64, 8192)),
    Line("file"),
    Line("process-vm", waits=("block", "spin")),
    Line("vmsplice"),
    Line("vmsplice-splice"),
    Line("io-uring"),
    # A polling thread beside two parties on one CPU is not a row of anybody's.
    Line("io-uring-sqpoll", placements=CROSS),
    Line("eventfd"),
    Line("shm-ring", waits=("block", "spin")),
    # Not the same calls: each sleep has a limit of 5 ms, with which a side notices a killed peer that nobody watches.
    Line("shm-ring", "shm-ring-limited", sizes=(64,)),
    Line("posix-shm", waits=("block", "spin")),
    Line("sysv-shm", waits=("block", "spin")),
    Line("mmap-file", waits=("block", "spin")),
    Line("shm-slot", waits=("block", "spin")),
    # Not a program for the same task: what any two parties that spin need at least.
    Line("shm-ring", "line", sizes=(64,), waits=("spin",), workloads=("ping-pong",)),
    Line("shm-ring", "lines", sizes=(64,), waits=("spin",), workloads=("ping-pong",)),
    Line("shm-slot", "line", sizes=(8, 64), waits=("spin",), workloads=("ping-pong",)),
    # Nor these: what two CPUs carry when nothing but the writing and the reading is left.
    Line("shm-ring", "shm-halves", sizes=(65536, 1 << 20), waits=("spin",), workloads=("stream",)),
    Line("shm-sem", waits=("block", "spin")),
    Line("shm-mutex"),
    Line("heap-ring", waits=("block", "spin"), parties="thread"),
    Line("heap-handoff", waits=("block", "spin"), parties="thread"),
    Line("mutex-queue", "channels", waits=("block", "spin"), parties="thread"),
    # Not the same calls: the lock of the C library does not look before it sleeps, that of Rust's does, a hundred times.
    Line("mutex-queue", "pthread-queue", sizes=(64,), waits=("block", "spin"), parties="thread", workloads=("stream",)),
    Line("mpsc", "channels", waits=("block", "spin"), parties="thread"),
    Line("crossbeam", "channels", waits=("spin",), parties="thread"),
    Line("flume", "channels", waits=("block", "spin"), parties="thread"),
    Line("rtrb", "channels", waits=("yield", "spin"), parties="thread"),
    Line("iceoryx2", "frameworks", waits=("block", "spin"), parties="thread"),
    Line("ipc-channel", "frameworks", parties="thread"),
    Line("tokio-unix", "frameworks", parties="thread"),
    Line("zeromq", "frameworks", parties="thread"),
    Line("zeromq-tcp", "frameworks", parties="thread"),
]
# The programs in Rust, by the twin that a line names.
IN_RUST = {"channels": CHANNELS, "frameworks": FRAMEWORKS}
# Rows whose other side does not do the same calls for the same task: they are shown and not judged.
UNJUDGED = ("line", "lines", "shm-halves", "shm-ring-limited", "pthread-queue")
# Whose windows are so many times as long, and half as many. A ring of process-vm takes more messages than are sent in 15 ms,
# and within one filling no producer ever waits; a TCP connection between two crates' threads carries some thousand large messages
# before its windows are as large as they get; four threads that spin on two CPUs have either for milliseconds each.
LONGER = {"process-vm": 8, "zeromq-tcp": 8, "io-uring-sqpoll": 20}

Row = namedtuple("Row", "name mechanism workload size wait placement judged a b")


class Ipcost:
    """A side that is a cell of ipcost."""

    def __init__(self, mechanism, workload, size, wait, placement, parties):
        self.label = f"ipcost {mechanism}"
        self.longer = LONGER.get(mechanism, 1)
        self.binary = TARGET / "release" / f"ipc-{mechanism}"
        self.command = [str(self.binary), "cell", "--serve"]
        self.hint = "run `cargo build --release` first (`--features frameworks` for a framework)"
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
    """A side that is a plain program, on the CPUs that ipcost chooses for the same placement."""

    plan = None
    longer = 1

    def __init__(self, binary, mech, workload, size, wait, placement, parties, cpus):
        self.label = f"plain {mech}"
        pair = [cpus[-1], cpus[-1]] if placement == "same-cpu" else cpus[:2]
        self.binary = binary
        self.hint = f"run `cargo build --release --example {binary.name}` first"
        self.command = [str(binary), mech, workload, str(size), wait, parties, *map(str, pair)]


def windows(sides, pairs, window, least=1):
    """How many pairs of windows a launch of both sides has, and how long they are."""
    longer = max(least, *(side.longer for side in sides))
    return (pairs, window) if longer == 1 else (-(-pairs // 2), window * longer)


def rows_of(line, cpus):
    for workload in line.workloads:
        for size in line.sizes:
            for wait in line.waits:
                for placement in CROSS if wait == "spin" else line.placements:
                    what = (workload, size, wait, placement, line.parties)
                    binary, twin = PLAIN, line.twin or line.mechanism
                    if twin in IN_RUST:
                        binary, twin = IN_RUST[twin], line.mechanism
                    beside = "" if twin in (line.mechanism, "unix-stream") else f" / {twin}"
                    yield Row(
                        f"{line.mechanism} {workload} {size} B {wait} {placement}{beside}",
                        line.mechanism, workload, size, wait, placement, twin not in UNJUDGED,
                        Ipcost(line.mechanism, *what),
                        Plain(binary, twin, *what, cpus),
                    )


def comparisons(cpus):
    """Every row, and one of ipcost against itself."""
    lines = [line for line in LINES if line.twin != "frameworks" or FRAMEWORKS.exists()]
    rows = [row for line in lines for row in rows_of(line, cpus)]
    what = ("stream", 64, "spin", "cross-cpu")
    rows.append(Row(
        "heap-ring between threads / shm-ring between processes, stream 64 B spin cross-cpu", "heap-ring", *what, False,
        Ipcost("heap-ring", *what, "thread"), Ipcost("shm-ring", *what, "process"),
    ))
    if len(cpus) < 2:
        print("plain.py: one CPU is allowed here: only the same-cpu rows are compared", file=sys.stderr)
        rows = [row for row in rows if row.placement == "same-cpu"]
    return rows
