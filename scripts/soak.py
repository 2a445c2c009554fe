#!/usr/bin/env python3
"""Carries very many messages through each mechanism and watches that nothing grows meanwhile.

Needs: Linux, python3 (3.9 or newer, standard library only) and a release build (cargo build --release; --bin names the
folder of the programs, otherwise $CARGO_TARGET_DIR/release or target/release).

What happens: for each mechanism `ipc-MECHANISM stream --size 64 --messages N --format json` runs once: 10^9 messages through
the rings (user-space queues whose slots are used again and again), 10^7 through everything else, times --scale. All of it
takes about an hour. Every byte is written and verified as always. An explicit --messages has no deadline that such a run
could meet: the program allows 0.4 ms a message. Meanwhile every process of the run is looked at in /proc:

  RSS, PSS   VmRSS of status, Pss of smaps_rollup, KiB
  fds        open descriptors
  threads    tasks
  maps       mappings

Rule: of each process that was seen at least eight times, the first fifth of the samples is warm-up; then the largest value of
the second half may exceed the largest of the first half by at most 256 KiB (RSS), 0 (fds, threads), 2 (maps: the heap may
be split once). The PSS of one process changes when another one that shares its pages ends, so the rule holds for the sum
of all of the run, over the samples in which they are the same processes. A process that was seen less often is not judged, and a mechanism of which no process was judged is a
violation: take a larger --scale. The run must be `ok` and say that it verified exactly N messages of N times 64 bytes; one that is
`invalid` is run again, up to three times, because others on the machine can make it that, and a mismatch is not forgiven.

What it cannot see: memory of the kernel (socket buffers, System V queues), and what grows by less than the allowance.

Exit status: 0 when all was flat and right, 1 after a violation, 2 when something needed is missing.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import family  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
RINGS = ("shm-ring", "posix-shm", "mmap-file", "sysv-shm", "heap-ring", "rtrb", "crossbeam")
MANY, FEWER, SIZE = 10**9, 10**7, 64
WHAT = ("RSS", "PSS", "fds", "threads", "maps")
ALLOWED = {"RSS": 256, "PSS": 256, "fds": 0, "threads": 0, "maps": 2}
LEAST_SAMPLES = 8
TRIES = 3


def missing(what):
    print(f"soak.py: {what}", file=sys.stderr)
    sys.exit(2)


def field(text, name):
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def look(pid):
    """One sample of a process; None when it has ended or is not ours to look at."""
    proc = Path("/proc", str(pid))
    try:
        status, rollup = (proc / "status").read_text(), (proc / "smaps_rollup").read_text()
        return {
            "RSS": field(status, "VmRSS"),
            "PSS": field(rollup, "Pss"),
            "fds": len(os.listdir(proc / "fd")),
            "threads": field(status, "Threads"),
            "maps": (proc / "maps").read_text().count("\n"),
        }
    except OSError:
        return None


def role(line):
    """What a process is: the launcher, or a party, which has the arguments of the cell."""
    return "party" if " cell " in f" {line} " else "launcher"


def grown(samples):
    """What grew in one process: by the rule above."""
    steady = samples[len(samples) // 5 :]
    first, second = steady[: len(steady) // 2], steady[len(steady) // 2 :]
    for what in samples[0]:
        before = [sample[what] for sample in first if sample[what] is not None]
        after = [sample[what] for sample in second if sample[what] is not None]
        if before and after and max(after) > max(before) + ALLOWED[what]:
            yield f"{what} grew from {max(before)} to {max(after)}"


class Run:
    """One program, from its start to its end."""

    def __init__(self, args, mechanism, parties, messages):
        # By process, and by set of processes the sums of their PSS.
        self.samples, self.roles, self.sums = {}, {}, {}
        mark = f"{os.getpid()}-{mechanism}-{parties}"
        command = [str(args.bin / f"ipc-{mechanism}"), "stream", "--size", str(SIZE), "--messages", str(messages)]
        command += ["--parties", parties, "--format", "json"]
        command += ["--wait", args.wait] if args.wait else []
        self.leak, start = [], time.monotonic()
        environment = {**os.environ, family.VARIABLE: mark}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            while process.poll() is None:
                self.sample(mark, args.plant)
                # Short runs are looked at often enough, too.
                time.sleep(min(args.every, 0.02 + (time.monotonic() - start) / 50))
            out, self.complaint = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        self.seconds = time.monotonic() - start
        try:
            self.outcome = json.loads(out)
        except ValueError:
            self.outcome = {"status": "without a result"}

    def sample(self, mark, plant):
        pss = {}
        for pid, line in family.members(mark):
            found = look(pid)
            if found is not None:
                # A program that is just being started is still the one that starts it.
                self.roles[pid] = role(line)
                found["fds"] += len(self.samples.get(pid, [])) if plant else 0
                pss[pid] = found.pop("PSS") or 0
                self.samples.setdefault(pid, []).append(found)
        self.sums.setdefault(frozenset(pss), []).append({"PSS": sum(pss.values())})

    def wrong(self, messages):
        """Everything that is wrong with the run."""
        verified = self.outcome.get("verified") or {}
        if self.outcome["status"] != "ok":
            reason = self.outcome.get("invalid") or self.outcome.get("reason") or self.complaint.strip()
            yield f"{self.outcome['status']}: {reason}"
        elif (verified.get("messages"), verified.get("bytes")) != (messages, SIZE * messages):
            yield f"verified {verified} of {messages} messages"
        judged = [pid for pid in self.samples if len(self.samples[pid]) >= LEAST_SAMPLES]
        if not any(self.roles[pid] == "party" for pid in judged):
            yield f"too short to judge: no party was seen {LEAST_SAMPLES} times; use a larger --scale"
        for pid in judged:
            for what in grown(self.samples[pid]):
                yield f"{self.roles[pid]} {pid}: {what}"
        for pids, sums in self.sums.items():
            if len(sums) >= LEAST_SAMPLES and any(self.roles[pid] == "party" for pid in pids):
                yield from (f"all processes: {what}" for what in grown(sums))

    def row(self, name, messages):
        parties = [self.samples[pid] for pid in self.samples if self.roles[pid] == "party"]
        most = lambda what: max((s[what] or 0 for samples in parties for s in samples), default=0)  # noqa: E731
        peak = {what: most(what) for what in WHAT if what != "PSS"}
        peak["PSS"] = max((one["PSS"] for sums in self.sums.values() for one in sums), default=0)
        verified = (self.outcome.get("verified") or {}).get("messages", 0)
        seen = sum(map(len, self.samples.values()))
        numbers = "".join(f"{peak[what]:>9}" for what in WHAT)
        return f"{name:<26}{messages:>12}{verified:>12}{self.seconds:>8.0f}{seen:>9}{numbers}"


def soak(args, mechanism, parties):
    """Runs it, again where the machine was disturbed; the lines of the table and whether it was a violation."""
    most = MANY if mechanism in RINGS else FEWER
    # Rounded, so that the number can be read.
    messages = max(1000, int(most * args.scale) // 1000 * 1000)
    for attempt in range(TRIES):
        run = Run(args, mechanism, parties, messages)
        found = list(run.wrong(messages))
        disturbed = run.outcome["status"] == "invalid" and "message" not in (run.outcome.get("invalid") or "")
        if not disturbed or attempt == TRIES - 1:
            break
        print(f"soak.py: again, {run.outcome['invalid']}", file=sys.stderr)
    print(run.row(f"{mechanism} ({parties})", messages), flush=True)
    for what in found:
        print(f"  VIOLATION {what}", flush=True)
    return bool(found)


def cases(args):
    """What there is to carry through: mechanism and parties."""
    listed = subprocess.run([str(args.bin / "ipcost"), "list", "--format", "json"], capture_output=True, check=True)
    specs = json.loads(listed.stdout)
    wanted = [name for name in args.mechanism.split(",") if name]
    unknown = [name for name in wanted if name not in {spec["name"] for spec in specs}]
    if unknown:
        missing(f"there is no mechanism {unknown[0]!r}")
    for spec in specs:
        name = spec["name"]
        if (wanted and name not in wanted) or spec["family"] == "control":
            continue
        if spec.get("unusable"):
            print(f"{name}: not usable here: {spec['unusable']}")
            continue
        for parties in spec["parties"]:
            if args.parties in ("all", parties):
                yield name, parties


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", metavar="X", type=float, default=1, help="share of the messages, 0.001 for a try [1]")
    parser.add_argument("--mechanism", metavar="A,B", default="", help="only these")
    parser.add_argument("--parties", choices=("process", "thread", "all"), default="all")
    parser.add_argument("--wait", metavar="WAIT", default="", help="how both parties wait [the mechanism's first]")
    parser.add_argument("--every", metavar="S", type=float, default=1, help="longest pause between samples, seconds [1]")
    parser.add_argument("--bin", metavar="DIR", type=Path, default=target / "release", help="folder of the programs")
    parser.add_argument("--plant", action="store_true", help="count a descriptor more in each sample: must be found")
    args = parser.parse_args()
    if not (args.bin / "ipcost").exists():
        missing(f"{args.bin / 'ipcost'} does not exist; run cargo build --release, or name the folder with --bin")
    heads = "".join(f"{what:>9}" for what in WHAT)
    print(f"{'mechanism':<26}{'messages':>12}{'verified':>12}{'s':>8}{'samples':>9}{heads}", flush=True)
    start, count, bad = time.monotonic(), 0, 0
    for mechanism, parties in cases(args):
        count += 1
        bad += soak(args, mechanism, parties)
    if count == 0:
        missing("nothing was chosen")
    print(f"{count} runs in {time.monotonic() - start:.0f} s, {bad} with a violation; largest values of the parties, PSS of all, KiB")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("soak.py: interrupted", file=sys.stderr)
        sys.exit(130)
