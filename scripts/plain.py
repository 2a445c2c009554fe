#!/usr/bin/env python3
"""Compares ipcost with the plainest programs that do the same, paired and interleaved.

Needs: Linux, python3 (3.9 or newer, standard library only), gcc, two allowed CPUs for the cross-cpu rows, a release
build of this repository (cargo build --release; $CARGO_TARGET_DIR is honoured), for the rows of the Rust channels
`cargo build --release --example plain_channels`, and for those of the frameworks, which are listed only then,
`cargo build --release --features frameworks --bins --example plain_frameworks`. --calls needs strace.

What happens: for each comparison and launch both sides are started afresh and stay alive together, ipcost as
`ipc-MECHANISM cell --serve`, the plain one from scripts/plain/*.c or engine/examples/plain_*.rs. Short windows then
alternate A,B,B,A; only one side works at a time and the other one sleeps, which is checked. A pair of neighbouring
windows gives one ratio of times per message, a launch the median of its pairs, and the table the median of the
launches with an order-statistic interval over them (with six launches: smallest to largest, which covers the median with
a probability of 97 %). Launches go round all comparisons, so that a slow drift of the machine meets each of them alike.
A ratio above 1 means that A is slower. The target is 1.05: met where the whole interval is below it, missed where it is
above, not shown where it holds it or there are fewer than six launches. With --more, rows that are not shown then have so
many launches more, and the interval is of all of theirs. The table of comparisons is in scripts/plain/rows.py.

Exit status: 0 after a table, whatever the verdicts are; 1 when a side failed; 2 when something needed is missing.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "plain"))
import figures  # noqa: E402
from rows import CHANNELS, IN_RUST, LONGER, PLAIN, ROOT, SPOILED, comparisons, windows  # noqa: E402
from sides import Broken, Impossible, calls, launch  # noqa: E402

COMPILE = ["gcc", "-std=c11", "-O3", "-Wall", "-Wextra", "-pthread"]
# The message that the spoiled programs damage.
SPOIL = 20


def missing(what):
    print(f"plain.py: {what}", file=sys.stderr)
    sys.exit(2)


def build(binary, *extra):
    if shutil.which(COMPILE[0]) is None:
        missing("gcc is needed to build scripts/plain/*.c, and it is not there")
    sources = sorted(map(str, (ROOT / "scripts" / "plain").glob("*.c")))
    binary.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run([*COMPILE, *extra, "-o", str(binary), *sources, "-lrt"]).returncode != 0:
        missing("gcc could not build scripts/plain/*.c")


# ---- The plain programs themselves: do they carry what they say, and do they notice damage? -----------------------


def carries(binary, what, size, cpus, **environment):
    """Exit status and complaint of a plain program that carries some messages."""
    mech, workload, wait, parties = what
    pair = cpus[:2] if wait == "spin" else [cpus[-1], cpus[-1]]
    command = [str(binary), mech, workload, str(size), wait, parties, *map(str, pair)]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, input=f"{2 * SPOIL}\n", capture_output=True, text=True, timeout=120, env=environment)
    return done.returncode, done.stderr.strip()


def check_twins(cpus, mechanisms):
    """Every plain program carries messages, and finds the one byte that is damaged on request. True if all do."""
    build(PLAIN)
    build(SPOILED, f"-DSPOIL={SPOIL}")
    # A mechanism's twins may have names of their own.
    mechanisms = {*mechanisms, *(row.b.command[1] for row in comparisons(cpus) if row.mechanism in mechanisms)}
    listed = subprocess.run([str(PLAIN), "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    good = 0
    programs = [(PLAIN, SPOILED, tuple(line.split())) for line in listed]
    for rust in filter(Path.exists, IN_RUST.values()):
        named = {(r.mechanism, r.workload, r.wait, "thread") for r in comparisons(cpus) if r.b.binary == rust}
        programs += [(rust, rust, what) for what in sorted(named)]
    for binary, spoiled, what in programs:
        if mechanisms and what[0] not in mechanisms:
            continue
        for size in (8, 64, 8100):
            whole = carries(binary, what, size, cpus)
            if "need four CPUs" in whole[1]:
                continue
            found = carries(spoiled, what, size, cpus, PLAIN_SPOIL=str(SPOIL))
            says = f"message {SPOIL} " in found[1]
            expected = what[0] in ("line", "lines") or (found[0] == 1 and says)
            if whole[0] != 0 or not expected:
                print(f"{' '.join(what)} {size} B: {whole}; spoiled: {found}")
                return False
            good += 1
    print(f"{good} plain programs carry their messages and find a byte that was damaged")
    return good > 0


# ---- System calls. ----------------------------------------------------------------------------------------------


def show_calls(chosen):
    """Calls per message of both sides."""
    if shutil.which("strace") is None:
        missing("--calls needs strace, and it is not there")
    listing = lambda counts: ", ".join(f"{name} {count:.2f}" for name, count in counts.items()) or "none"
    status = 0
    for row in chosen:
        try:
            a, b = calls(row.a), calls(row.b)
        except Broken as error:
            print(f"{row.name}: {error}")
            status = status if isinstance(error, Impossible) else 1
            continue
        more = sum(a.values()) - sum(b.values())
        note = f"  A makes {more:+.2f}" if abs(more) > 0.1 else ""
        print(f"{row.name}\n    A {listing(a)}\n    B {listing(b)}{note}")
    return status


# ---- The comparison. --------------------------------------------------------------------------------------------


def compare(rows, args, name, length, settled):
    """Launches of each row by its name, why there are none of some, and whether all that was possible went well. `length`
    says how many pairs of windows of how many ms a launch has. Rows that are not `settled` then have --more launches."""
    done, absent, well = {name(row): [] for row in rows}, {}, True
    for number in range(args.launches + args.more):
        if number == args.launches:
            rows = [row for row in rows if name(row) not in absent and not settled(row, done[name(row)])]
        for at, row in enumerate(rows):
            what = name(row)
            if what in absent:
                continue
            print(f"launch {number + 1}/{args.launches + args.more}  {at + 1}/{len(rows)}  {what}", file=sys.stderr)
            try:
                pairs, window = length(row)
                done[what].append(launch(row.a, row.b, pairs, window * 1e6, b_first=number % 2 == 1))
            except (Broken, subprocess.TimeoutExpired) as error:
                # A row with a launch missing is no row: the others go on. One of the launches more may be.
                if number < args.launches:
                    absent[what] = str(error)
                    well = well and isinstance(error, Impossible)
                print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
    return done, absent, well


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.partition("\n")[0]
    except OSError:
        return ""


def machine(cpus):
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    changed = " with changes" if first_line("git", "status", "--porcelain", "--untracked-files=no") else ""
    return {
        "CPU": f"{model or platform.machine()}, {len(cpus)} allowed",
        "kernel": platform.release(),
        "gcc": f"{first_line(COMPILE[0], '--version')}, {' '.join(COMPILE[1:])}",
        "rustc": first_line("rustc", "--version"),
        "commit": first_line("git", "rev-parse", "--short=12", "HEAD") + changed,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def at_least(least):
    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return int(text)

    return number


at_least_one = at_least(1)
MORE = {"metavar": "N", "type": at_least(0), "default": 0}
MORE["help"] = "launches more of rows that the first did not show [0]"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mechanism", metavar="A,B", default="", help="only these mechanisms of ipcost")
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="only comparisons with this in their name")
    parser.add_argument("--launches", metavar="N", type=at_least_one, default=6, help="fresh starts of both sides [6]")
    parser.add_argument("--more", **MORE)
    parser.add_argument("--pairs", metavar="N", type=at_least_one, default=20, help="pairs of windows per launch [20]")
    parser.add_argument("--window", metavar="MS", type=at_least_one, default=30, help="length of a window in ms [30]")
    parser.add_argument("--json", metavar="FILE", help="also write every window's time there")
    parser.add_argument("--markdown", metavar="FILE", help="also write the tables there, with the machine")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="name the comparisons and measure nothing")
    other.add_argument("--calls", action="store_true", help="system calls per message of both sides, under strace")
    other.add_argument("--check", action="store_true", help="check the plain programs: they carry, and find damage")
    return parser.parse_args()


def choose(args, cpus):
    rows, wanted = comparisons(cpus), [name for name in args.mechanism.split(",") if name]
    known = {row.mechanism for row in rows}
    for name in wanted:
        if name not in known:
            missing(f"no comparison is about {name!r}; choose from {', '.join(sorted(known))}")
    rows = [row for row in rows if args.only in row.name and (not wanted or row.mechanism in wanted)]
    return rows or missing(f"no comparison has {args.only!r} in its name")


def main():
    args = arguments()
    if sys.platform != "linux":
        missing("this needs Linux")
    cpus = sorted(os.sched_getaffinity(0))
    if args.check:
        return 0 if check_twins(cpus, args.mechanism.split(",") if args.mechanism else []) else 1
    chosen = choose(args, cpus)
    if args.list:
        print("\n".join(row.name for row in chosen))
        return 0
    build(PLAIN)
    without = [row for row in chosen if row.b.binary == CHANNELS and not CHANNELS.exists()]
    if without and any(row.judged for row in chosen if row not in without):
        print(f"plain.py: {CHANNELS} is not there: without the rows of the Rust channels", file=sys.stderr)
        chosen = [row for row in chosen if row not in without]
    for row in chosen:
        for side in (row.a, row.b):
            if not side.binary.exists():
                missing(f"{side.binary} is needed: {side.hint}")
    if args.calls:
        return show_calls(chosen)
    load = os.getloadavg()[0]
    if load > 0.3 * len(cpus):
        busy = f"load average {load:.2f} on {len(cpus)} CPUs: something else runs, expect noise"
        print(f"plain.py: {busy}", file=sys.stderr)

    settled = lambda row, launches: figures.summary(row, launches)["verdict"] != figures.OPEN
    length = lambda row: windows((row.a, row.b), args.pairs, args.window)
    done, absent, well = compare(chosen, args, lambda row: row.name, length, settled)
    absent.update((f"{row.mechanism} beside Rust", "engine/examples/plain_channels.rs was not built") for row in without)
    rows = [figures.summary(row, done[row.name]) for row in chosen if row.name not in absent]
    if not rows:
        return 0 if well else 1
    settings = {
        "launches": args.launches,
        "more": args.more,
        "pairs": args.pairs,
        "window_ms": args.window,
        "longer": {name: times for name, times in LONGER.items() if any(row.mechanism == name for row in chosen)},
        "coverage": min(row["coverage"] for row in rows),
        "target": figures.TARGET_RATIO,
        "cpus": cpus,
        "load_before": load,
        "machine": machine(cpus),
    }
    print("\n".join(figures.text_table(figures.HEAD, [figures.cells_of(row) for row in rows])), end="\n\n")
    print("\n".join(figures.text_table(figures.MECHANISM_HEAD, list(figures.by_mechanism(rows)))), end="\n\n")
    print(figures.explanation(settings))
    for name, why in absent.items():
        print(f"not compared: {name}: {why}")
    if args.json:
        Path(args.json).write_text(json.dumps({"settings": settings, "rows": rows, "absent": absent}) + "\n")
    if args.markdown:
        Path(args.markdown).write_text(figures.markdown(rows, absent, settings))
    return 0 if well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("plain.py: interrupted", file=sys.stderr)
        sys.exit(130)
