#!/usr/bin/env python3
"""Measures how near each mechanism comes to what bounds it, target beside figure.

Needs: Linux, python3 (3.9 or newer, standard library only), gcc, a release build of this repository (scripts/limits.sh
makes it; $CARGO_TARGET_DIR is honoured) and two allowed CPUs, without which only rows of one CPU are measured.

What happens: a row compares two things, A and B, that run side by side. Both are started afresh for each launch, stay
alive together and carry messages in short windows that alternate A,B,B,A while the other one sleeps; the engine is that
of scripts/plain.py, and the programs in scripts/plain/ are the floors and the twins. A launch gives the median of its
pairs, a row the median of its launches with an order-statistic interval. Launches go round all rows, so that a machine
that drifts meets each of them alike. Rows of a slow peer, of the time to set up and of memory have no such pairs: they are
fresh runs in turns. Growth in time is told by a channel that has carried many messages beside a new one, in pairs, and by a
long window among short ones.

A target is met where the whole interval is on its side, missed where the whole interval is on the other, and not shown
where the interval holds it or there are fewer than six launches. Of an option, a kind of pages, the effect is told and
nothing is aimed at: less or more time where the whole interval is. With --more, rows whose target is not shown then have
so many launches more, but for those of a slow peer, of setting up and of growth; looked at twice, an interval covers about
94 %.

Exit status: 0 after a table, whatever the verdicts are; 1 when a side failed; 2 when something needed is missing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent / "plain"))
import figures  # noqa: E402
import plain  # noqa: E402
import scale  # noqa: E402
import sums  # noqa: E402
from rows import PLAIN, TARGET, Ipcost, Plain, comparisons, windows  # noqa: E402
from sides import Broken, Impossible, launch, lengths  # noqa: E402

# `at_most` bounds "time of A over time of B", None where only the effect is asked for; `turned` shows the inverse, "so many
# times as fast". `rate`, where it is there, is a row more out of the same launches: its name, the bytes of a message, and
# the GiB/s that A should carry where B does.
Row = namedtuple("Row", "group what target at_most turned a b rate", defaults=(None,))

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
RINGS = (("shm-ring", "process"), ("heap-ring", "thread"))
CRATES = ("crossbeam", "flume", "mpsc")
FRAMEWORKS = ("iceoryx2", "ipc-channel", "zeromq", "zeromq-tcp", "tokio-unix")
PEERS = 4
# Windows of many parties are so many times as long, and half as many. Producers that share a CPU have it for some
# milliseconds each, so a hub that serves them in turn idles until each had its first share: half of a window of 15 ms.
LONGER = {"patterns": 8}
# What the two slow-peer rows offer, messages a second: half a millisecond between two, far more than any spin budget.
RARE = 2000
# What grows: a mechanism, and messages of a long stream. A pipe would take a minute for 10^8.
GROWTH = (("shm-ring", 10**8), ("heap-ring", 10**8), ("pipe", 10**7))
# The shortest stream beside them, how many times as long as its neighbours a long window is, and how often it has its turn.
SHORTEST, LONG, TURNS = 10**4, 10, 3
# What the pages of a ring can be, the field of a plan and the option that say so.
PAGES = (("populated", "populate", "--populate"), ("huge", "huge", "--huge-pages"))
# Cells of a campaign of which a report is made, and runs of each.
CELLS, RUNS_EACH = (10, 1000, 10_000), 5


def side(mechanism, workload, size, wait="spin", placement="cross-cpu", parties="process", **more):
    found = Ipcost(mechanism, workload, size, wait, placement, parties)
    found.plan.update(more)
    return found


def slower(group, what, at_most, a, b):
    return Row(group, what, f"<= {at_most:g}", at_most, False, a, b)


def faster(group, what, at_least, a, b):
    return Row(group, what, f">= {at_least:g}", 1 / at_least, True, a, b)


def effect(group, what, a, b):
    return Row(group, what, "", None, False, a, b)


def listed():
    """What `ipcost list` says of each mechanism."""
    found = subprocess.run([TARGET / "release" / "ipcost", "list", "--format", "json"], capture_output=True, text=True)
    if found.returncode != 0:
        plain.missing("`ipcost list` failed: run `cargo build --release` first")
    parsed = json.loads(found.stdout)
    return parsed if isinstance(parsed, list) else parsed["mechanisms"]


def of_two_cpus(cpus):
    floor = lambda name, size: Plain(PLAIN, name, "ping-pong", size, "spin", "cross-cpu", "process", cpus)
    for mechanism, size, at_most in (("shm-slot", 64, 1.15), ("shm-ring", 48, 1.4), ("shm-ring", 64, 1.6)):
        what = f"{mechanism} {size} B ping-pong, spin, in cache-line round trips"
        yield slower("round trip", what, at_most, side(mechanism, "ping-pong", size), floor("line", size))
    for size in (48, 64):
        what = f"shm-ring {size} B ping-pong, spin, over a line each that its side writes"
        yield effect("round trip", what, side("shm-ring", "ping-pong", size), floor("lines", size))
    what = "a line each that its side writes, in round trips of one line"
    yield effect("round trip", what, floor("lines", 64), floor("line", 64))
    for ring, parties in RINGS:
        for size in (8, 64):
            for other, least in (("rtrb", 1.1), *((crate, 1.2) for crate in CRATES)):
                what = f"{ring} stream {size} B, spin, as fast as {other}"
                a = side(ring, "stream", size, parties=parties)
                yield faster("small messages", what, least, a, side(other, "stream", size, parties="thread"))
    for size in (64 * KIB, 256 * KIB, MIB):
        what = f"shm-ring stream {size // KIB} KiB, spin, as fast as writing and reading alone"
        b = Plain(PLAIN, "shm-halves", "stream", size, "spin", "cross-cpu", "process", cpus)
        yield faster("large messages", what, 0.9, side("shm-ring", "stream", size), b)
    for mechanism in ("shm-ring", "shm-slot", "posix-shm", "heap-handoff"):
        parties = "thread" if mechanism == "heap-handoff" else "process"
        a, b = (side(mechanism, "ping-pong", size, parties=parties, touch="header") for size in (16 * MIB, 64 * KIB))
        yield slower("in place", f"{mechanism} ping-pong, header touch, 16 MiB over 64 KiB", 1.25, a, b)
    for size, wait in ((64 * KIB, "block"), (MIB, "block"), (256 * KIB, "spin")):
        a = side("vmsplice-splice", "stream", size, wait=wait, touch="header")
        b = Plain(PLAIN, "vmsplice-splice", "stream", size, wait, "cross-cpu", "process", cpus)
        b.command = ["env", "PLAIN_TOUCH=header", *b.command]
        what = f"vmsplice-splice stream {size // KIB} KiB, {wait}, header touch"
        # Of parties that sleep the waking is most of it, not the pages.
        rate = (f"{what}, GiB/s", size, 30) if wait == "spin" else None
        yield slower("pipes", f"{what}, over plain C", 1.05, a, b)._replace(rate=rate)
    for size in (64 * KIB, MIB):
        for other in ("vmsplice", "vmsplice-splice"):
            a, b = (side(mechanism, "stream", size, wait="block") for mechanism in (other, "pipe"))
            yield faster("pipes", f"{other} stream {size // KIB} KiB, block, as fast as write and read", 1, a, b)
    for mechanism in ("shm-ring", "shm-slot", "unix-stream", "pipe"):
        a, b = (side(mechanism, "ping-pong", 64, wait=wait) for wait in ("hybrid", "spin"))
        yield slower("hybrid", f"{mechanism} 64 B ping-pong, hybrid over spin, prompt peer", 1.1, a, b)
    for kind, field, _ in PAGES:
        for size in (64, 64 * KIB, MIB, 16 * MIB):
            a, b = side("shm-ring", "stream", size, pages={field: True}), side("shm-ring", "stream", size)
            yield effect("pages", f"shm-ring stream {size} B, spin, {kind} over ordinary pages", a, b)


def of_one_cpu(cpus):
    for row in comparisons(cpus):
        # 64 B alone, where a call weighs most, and each twin once: scripts/plain.py has all of them.
        twin = row.size == 64 and row.judged and "/" not in row.name
        if twin and row.wait == "block" and row.placement == "same-cpu":
            yield slower("blocking", f"{row.name}, over a plain program", 1.03, row.a, row.b)
    for workload in ("ping-pong", "stream"):
        a, b = (side(m, workload, 64, wait="block", placement="same-cpu") for m in ("shm-ring", "pipe"))
        yield slower("blocking", f"shm-ring {workload} 64 B, block, same-cpu, over pipe", 1, a, b)


def of_patterns(mechanisms):
    for mechanism in mechanisms:
        for pattern in ("fan-in", "fan-out"):
            if pattern not in mechanism["patterns"]:
                continue
            wait = "block" if "block" in mechanism["waits"] else mechanism["waits"][0]
            parties = mechanism["parties"][0]
            a = side(mechanism["name"], pattern, 64, wait=wait, parties=parties, peers=PEERS)
            b = side(mechanism["name"], "stream", 64, wait=wait, parties=parties)
            what = f"{mechanism['name']} {pattern} 1:{PEERS} {wait}, as fast as one to one"
            yield faster("patterns", what.replace("fan-in 1:4", "fan-in 4:1"), 0.8, a, b)


def of_frameworks(mechanisms):
    there = {mechanism["name"]: mechanism for mechanism in mechanisms}
    for name in FRAMEWORKS:
        if name not in there:
            continue
        wait = "block" if "block" in there[name]["waits"] else there[name]["waits"][0]
        parties = there[name]["parties"][0]
        for workload in ("ping-pong", "stream"):
            a = side("shm-ring", workload, 64, wait=wait, parties=parties)
            b = side(name, workload, 64, wait=wait, parties=parties)
            yield slower("frameworks", f"shm-ring {workload} 64 B, {wait}, over {name}", 1, a, b)


def table_of(cpus):
    mechanisms = listed()
    rows = list(of_one_cpu(cpus))
    if len(cpus) > 1:
        rows = [*of_two_cpus(cpus), *rows, *of_patterns(mechanisms), *of_frameworks(mechanisms)]
    return rows


# ---- What does not go round with the others: a peer that is slow, setting up, and growth. --------------------------


def run(mechanism, workload, *options):
    """A run of a thin binary, and the largest resident set of its processes in KiB."""
    command = [TARGET / "release" / f"ipc-{mechanism}", workload, "--format", "json", *map(str, options)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out = child.stdout.read()
    why = child.stderr.read().strip()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    try:
        found = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        raise Broken(f"ipc-{mechanism} {workload}: {why}") from None
    if found["status"] != "ok":
        why = found.get("reason") or why
        raise (Impossible if found["status"] == "unsupported" else Broken)(f"ipc-{mechanism}: {found['status']}: {why}")
    return found, usage.ru_maxrss


def cpu_ns(found):
    """CPU time a message, of all parties."""
    return sum(sum(party.values()) for party in found["cpu_ns_per_message"])


def rare(args):
    """The CPU that a hybrid wait takes beside a blocking one when messages come rarely."""
    for mechanism in ("shm-ring", "shm-sem", "pipe", "unix-stream"):
        ratios = []
        for number in range(args.launches):
            spent = {}
            for wait in ("hybrid", "block") if number % 2 else ("block", "hybrid"):
                options = ("--size", 64, "--wait", wait, "--rate", RARE, "--arrivals", "constant", "--duration", "300ms")
                spent[wait] = cpu_ns(run(mechanism, "offered-load", *options)[0])
            ratios.append(spent["hybrid"] / spent["block"])
        yield "hybrid", f"{mechanism} 64 B, {RARE} a second, CPU of hybrid over block", "<= 1.1", ratios, 1.1


def starts(args):
    """What the kind of pages does to the time until both sides of a large ring are ready."""
    for kind, _, option in PAGES:
        ratios = []
        for number in range(args.launches):
            took = {}
            for options in ((), (option,)) if number % 2 else ((option,), ()):
                found, _ = run("shm-ring", "stream", "--size", 16 * MIB, "--messages", 8, *options)
                took[bool(options)] = found["setup_ns"]
            ratios.append(took[True] / took[False])
        yield "pages", f"shm-ring of 16 MiB messages, setting up, {kind} over ordinary pages", "", ratios, None


def growth(args):
    """Time and memory of a long stream beside a short one, and of a channel that is old beside a new one."""
    power = lambda count: f"{count:.0e}".replace("e+0", "e")
    for mechanism, longest in GROWTH:
        place = "cross-cpu" if len(os.sched_getaffinity(0)) > 1 else "same-cpu"
        cell = side(mechanism, "stream", 64, "block", place, "thread" if mechanism == "heap-ring" else "process")
        length, age, memory = [], [], []
        for number in range(args.launches):
            length.append(lengths(cell, longest // LONG, longest, TURNS))
            before = (longest, 0)
            _, pairs = launch(cell, cell, args.pairs, args.window * 1e6, number % 2 == 1, before)
            age.append(statistics.median(old / new for old, new in pairs))
            run_of = lambda count: run(mechanism, "stream", "--size", 64, "--messages", count)[1]
            memory.append(run_of(longest) / run_of(SHORTEST))
        what = f"{mechanism} stream 64 B"
        span = f"{power(longest)} over {power(longest // LONG)} messages at a time"
        yield "growth", f"{what}, time a message, {span}", "<= 1.1", length, 1.1
        span = f"a channel {power(longest)} messages older over a new one"
        yield "growth", f"{what}, time a message, {span}", "<= 1.1", age, 1.1
        span = f"{power(longest)} over {power(SHORTEST)} messages"
        yield "growth", f"{what}, resident memory, {span}", "<= 1.05", memory, 1.05
    yield from growth_of_reports(args.launches)


def growth_of_reports(launches):
    """Time that `ipcost report` takes for a cell, in a large campaign beside a smaller one."""
    with tempfile.TemporaryDirectory(prefix="ipcost-limits-") as name:
        folders = [Path(name) / str(cells) for cells in CELLS]
        for folder, cells in zip(folders, CELLS):
            folder.mkdir()
            scale.journal(folder, cells * RUNS_EACH, cells)
        each = []
        for _ in range(launches):
            start = [time.monotonic()]
            for folder in folders:
                subprocess.run([TARGET / "release" / "ipcost", "report", folder], stdout=subprocess.DEVNULL, check=True)
                start.append(time.monotonic())
            each.append([(end - begin) / cells for begin, end, cells in zip(start, start[1:], CELLS)])
    for small, large in ((0, -1), (-2, -1)):
        what = f"report of a campaign, time a cell, {CELLS[large]} over {CELLS[small]} cells"
        yield "growth", what, "<= 1.1", [found[large] / found[small] for found in each], 1.1


# ---- From ratios to a table. -----------------------------------------------------------------------------------


def judged(values, at_most, turned):
    low, high, coverage = figures.interval(values)
    aimed = at_most is not None
    verdict = figures.verdict(low, high, coverage, at_most) if aimed else figures.effect(low, high, coverage)
    shown = [statistics.median(values), low, high]
    if turned:
        shown = [1 / shown[0], 1 / shown[2], 1 / shown[1]]
    return {"median": shown[0], "low": shown[1], "high": shown[2], "n": len(values), "verdict": verdict}


def windows_of(row, args):
    """Pairs of windows for a launch of that row, and the length of a window in ms."""
    return windows((row.a, row.b), args.pairs, args.window, LONGER.get(row.group, 1))


def measure(rows, args):
    ratios = lambda launches: [statistics.median(a / b for a, b in pairs) for _, pairs in launches]
    found = lambda row, launches: judged(ratios(launches), row.at_most, row.turned)
    settled = lambda row, launches: found(row, launches)["verdict"] != figures.OPEN
    length = lambda row: windows_of(row, args)
    launches, absent, well = plain.compare(rows, args, lambda row: row.what, length, settled)
    done, times = [], {}
    for row in rows:
        if row.what not in absent:
            of_row = launches[row.what]
            times[row] = [[statistics.median(pair[i] for pair in pairs) for i in (0, 1)] for _, pairs in of_row]
            a_ns, b_ns = (statistics.median(pair[i] for pair in times[row]) for i in (0, 1))
            more = {"a_ns": a_ns, "b_ns": b_ns, **found(row, of_row)}
            done.append({"group": row.group, "what": row.what, "target": row.target, **more})
    for row in times:
        if row.rate:
            rated(row, times[row], done, absent)
    return done, absent, well


def rated(row, times, done, absent):
    """GiB/s of A beside what they should be, if the machine gives them to B."""
    what, size, least = row.rate
    # Seconds for a GiB, of which fewer are better.
    a, b = ([pair[side] / 1e9 * GIB / size for pair in times] for side in (0, 1))
    if all(1 / statistics.median(side) < least for side in (a, b)):
        absent[what] = f"plain C carries {1 / statistics.median(b):.3g} GiB/s here, of {least} that were asked for"
        return
    done.append({"group": row.group, "what": what, "target": f">= {least}", **judged(a, 1 / least, True)})


def alone(chosen, args):
    """The rows without pairs."""
    done, absent, well = [], {}, True
    for name, source in (("hybrid", rare), ("pages", starts), ("growth", growth)):
        if not chosen(name):
            continue
        print(f"{name}: runs that take turns", file=sys.stderr)
        try:
            for group, what, target, values, at_most in source(args):
                done.append({"group": group, "what": what, "target": target, **judged(values, at_most, False)})
        except (Broken, subprocess.TimeoutExpired) as error:
            absent[name] = str(error)
            well = well and isinstance(error, Impossible)
    return done, absent, well


def parts(args):
    """What the round trips are made of."""
    limits = subprocess.run(
        [TARGET / "release" / "ipcost", "limits", "--format", "json"], capture_output=True, text=True
    )
    if limits.returncode != 0:
        return [], {"sums": f"`ipcost limits` failed: {limits.stderr.strip()}"}
    call = json.loads(limits.stdout)["figures"]["null-syscall"]["median"]
    return sums.sums(listed(), side, run, call, args.launches, lambda text: print(text, file=sys.stderr))


HEAD = ("row", "n", "A ns", "B ns", "target", "measured", "interval", "verdict")


def shown(row):
    span = f"{row['low']:.3g} .. {row['high']:.3g}"
    times = (figures.figure(row[side]) if side in row else "" for side in ("a_ns", "b_ns"))
    return row["what"], str(row["n"]), *times, row["target"], f"{row['median']:.3g}", span, row["verdict"]


def manner(rows, args):
    """How the rows with pairs were measured."""
    kinds = {}
    for row in rows:
        longer = {side.plan["mechanism"] for side in (row.a, row.b) if side.longer > 1}
        kinds.setdefault(windows_of(row, args), set()).update({row.group} & LONGER.keys() or longer)
    said = []
    for (count, window), who in sorted(kinds.items(), reverse=True):
        said.append(f"{count} pairs of windows of {window} ms" + (f" ({', '.join(sorted(who))})" if who else ""))
    more = f" ({args.launches + args.more} where {args.launches} showed nothing)" if args.more else ""
    return f"{args.launches} launches{more}" + (" of " + " or of ".join(said) if said else "")


def page(body, sum_body, counts, absent, machine):
    """All of it as markdown."""
    lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in machine.items()), ""]
    lines += [f"{counts}.", ""]
    lines += [*figures.markdown_table(HEAD, body), ""]
    if sum_body:
        lines += [*figures.markdown_table(sums.HEAD, sum_body), ""]
    lines += [f"Not measured: {what}: {why}." for what, why in absent.items()]
    return "\n".join(lines).rstrip() + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="only rows with this in their group or name")
    number = lambda name, unit, default, what: parser.add_argument(
        name, metavar=unit, type=plain.at_least_one, default=default, help=f"{what} [{default}]"
    )
    number("--launches", "N", 6, "fresh starts of both sides")
    parser.add_argument("--more", **plain.MORE)
    number("--pairs", "N", 8, "pairs of windows per launch; half as many where they are longer")
    number("--window", "MS", 15, f"length of a window in ms; {LONGER['patterns']} times as long for many parties")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    parser.add_argument("--markdown", metavar="FILE", help="also write the table there")
    parser.add_argument("--list", action="store_true", help="name the rows and measure nothing")
    return parser.parse_args()


def main():
    args = arguments()
    if sys.platform != "linux":
        plain.missing("this needs Linux")
    cpus = sorted(os.sched_getaffinity(0))
    if not (TARGET / "release" / "ipcost").exists():
        plain.missing("run `cargo build --release` first, or scripts/limits.sh")
    chosen = lambda name: args.only in name
    named = lambda row: (row.group, row.what, row.rate[0]) if row.rate else (row.group, row.what)
    rows = [row for row in table_of(cpus) if any(map(chosen, named(row)))]
    if args.list:
        for row in rows:
            print(f"{row.group}: {row.what}: {row.target or 'its effect'}")
            if row.rate:
                print(f"{row.group}: {row.rate[0]}: >= {row.rate[2]}")
        return 0
    plain.build(PLAIN)
    lacking = sorted({str(s.binary) for row in rows for s in (row.a, row.b) if not s.binary.exists()})
    rows = [row for row in rows if row.a.binary.exists() and row.b.binary.exists()]
    done, absent, well = measure(rows, args)
    more, missing, fine = alone(chosen, args)
    done, absent, well = done + more, {**absent, **missing}, well and fine
    made_of, missing = parts(args) if chosen("sums") else ([], {})
    absent.update(missing)
    if not (done or made_of or absent):
        plain.missing(f"no row has {args.only!r} in its group or name")
    order = list(dict.fromkeys(row["group"] for row in done))
    done.sort(key=lambda row: order.index(row["group"]))
    body, sum_body = [shown(row) for row in done], [sums.shown(row) for row in made_of]
    print("\n".join(figures.text_table(HEAD, body)))
    if made_of:
        print("\n" + "\n".join(figures.text_table(sums.HEAD, sum_body)))
    verdicts = [row["verdict"] for row in done]
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in (figures.MET, figures.OPEN, figures.MISSED))
    counts += f", {sum(row['target'] == '' for row in done)} of an effect; {manner([row for row in rows if row.what not in absent], args)}"
    print(f"\n{counts}")
    for what, why in absent.items():
        print(f"not measured: {what}: {why}")
    for binary in lacking:
        print(f"not measured: rows of {binary}, which is not built")
    if args.json:
        everything = {"machine": plain.machine(cpus), "rows": done, "sums": made_of, "absent": absent}
        Path(args.json).write_text(json.dumps(everything, indent=1) + "\n")
    if args.markdown:
        Path(args.markdown).write_text(page(body, sum_body, counts, absent, plain.machine(cpus)))
    return 0 if well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("limits.py: interrupted", file=sys.stderr)
        sys.exit(130)
