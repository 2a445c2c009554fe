#!/usr/bin/env python3
"""Carries very many messages through each mechanism and watches that nothing grows meanwhile.

Needs: Linux (5.4 or newer), python3 (3.9 or newer, standard library only) and a release build (cargo build --release; --bin
names the folder of the programs, otherwise $CARGO_TARGET_DIR/release or target/release).

What happens: for each mechanism and kind of parties `ipc-MECHANISM stream --size 64 --messages N --format json` runs once.
N is, times --scale:

  10^9   shm-ring, posix-shm, mmap-file, sysv-shm, heap-ring, rtrb: rings, whose slots are used again and again without a call
         of the kernel, millions of times a second
  10^7   everything else. Most make a call of the kernel for a message. So does shm-slot, although it is shared memory: it has
         one slot, so each message is a hand-over that wakes a sleeper, and its 10^7 take longer than 10^9 through a ring
         (--wait spin is faster where the parties have a CPU each). crossbeam, mpsc, flume, mutex-queue and heap-handoff pass
         buffers on through a queue whose ends park and wake each other.

All of it takes more than an hour. --list says what there is to do. --record FILE keeps a line of JSON for each run that was
judged, and a later call with the same file takes from it what was done already with the same number, size and wait: so it
can be done in slices (--mechanism A,B --parties thread, or --for 200 to begin nothing new after 200 s), and a call that was
stopped goes on. A run cannot be: only one process that carries all of it shows that nothing grows. The last line says how
much of what was chosen is done.

Every byte is written and verified as always. An explicit --messages has no deadline that such a
run could meet: the program allows 0.4 ms a message. Meanwhile every process of the run is looked at in /proc:

  RSS        VmRSS of status, KiB
  PSS        Pss_Anon and Pss_Shmem of smaps_rollup, KiB: without the pages of files, of which a process is charged a larger share
             whenever any other program on the machine ends that has the same library
  fds        open descriptors
  threads    tasks
  maps       mappings

Rule: of each process that was seen at least eight times, the first fifth of the samples is warm-up. Then the largest value of
the second half may exceed the largest of the first half by at most 256 KiB (RSS) or 2 (maps: the heap may be split once).
Of fds and threads the medians of the four quarters may rise once: a party that asks whether its peer lives has a descriptor
more for a moment, and some wait for that with a descriptor or a thread that they make when they first wait for long. What is lost
again and again rises each time. The PSS of one process changes when another one that shares its pages ends, so the rule holds
for the sum of all of the run, over the samples in which they are the same processes. A process that was seen less often is not
judged, and a mechanism of which no process was judged is a violation: take a larger --scale. The run must be `ok` and say
that it verified exactly N messages of N times 64 bytes; one that is `invalid` is run again, up to three times, because
others on the machine can make it that, and a mismatch is not forgiven.

What it cannot see: memory of the kernel (socket buffers, System V queues), and what grows by less than the allowance.

Exit status: 0 when all was flat and right, what the record says included, 1 after a violation, 2 when something needed is
missing, 3 when nothing was wrong and not everything that was chosen is done.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import family  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
RINGS = ("shm-ring", "posix-shm", "mmap-file", "sysv-shm", "heap-ring", "rtrb")
MANY, FEWER, SIZE = 10**9, 10**7, 64
WHAT = ("RSS", "PSS", "fds", "threads", "maps")
# What may be more in the second half.
ALLOWED = {"RSS": 256, "PSS": 256, "maps": 2}
# What may be made once.
COUNTED = ("fds", "threads")
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
            "PSS": (field(rollup, "Pss_Anon") or 0) + (field(rollup, "Pss_Shmem") or 0),
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
        if what in COUNTED:
            values = [sample[what] for sample in steady]
            bounds = [len(values) * quarter // 4 for quarter in range(5)]
            medians = [statistics.median(values[a:b]) for a, b in zip(bounds, bounds[1:])]
            if sum(b > a for a, b in zip(medians, medians[1:])) > 1:
                yield f"{what} grew, by quarters of the run: {', '.join(f'{median:.0f}' for median in medians)}"
        elif before and after and max(after) > max(before) + ALLOWED[what]:
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


def number(args, mechanism):
    """How many messages it carries; rounded, so that the number can be read."""
    most = MANY if mechanism in RINGS else FEWER
    return max(1000, int(most * args.scale) // 1000 * 1000)


class Record:
    """Runs that were judged, a line of JSON each; the last line of a call that was killed may be cut, and is left out."""

    def __init__(self, path):
        self.path, self.done = path, {}
        if path is None or not path.exists():
            return
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            print(f"soak.py: the last line of {path} is cut, and was ignored", file=sys.stderr)
            path.write_text(whole)
        for place, line in enumerate(whole.splitlines(), 1):
            try:
                run = json.loads(line)
                self.done[self.key(run["mechanism"], run["parties"], run["messages"], run["wait"])] = run
            except (ValueError, KeyError, TypeError):
                missing(f"line {place} of {path} is none of this script's")

    @staticmethod
    def key(mechanism, parties, messages, wait):
        return f"{mechanism} {parties} {messages} {SIZE} {wait}"

    def keep(self, run):
        self.done[self.key(run["mechanism"], run["parties"], run["messages"], run["wait"])] = run
        if self.path is not None:
            with open(self.path, "a") as file:
                file.write(json.dumps(run) + "\n")


def soak(args, mechanism, parties):
    """Runs it, again where the machine was disturbed; what to keep of it."""
    messages = number(args, mechanism)
    for attempt in range(TRIES):
        run = Run(args, mechanism, parties, messages)
        found = list(run.wrong(messages))
        disturbed = run.outcome["status"] == "invalid" and "message" not in (run.outcome.get("invalid") or "")
        if not disturbed or attempt == TRIES - 1:
            break
        print(f"soak.py: again, {run.outcome['invalid']}", file=sys.stderr)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    row = run.row(f"{mechanism} ({parties})", messages)
    return {"mechanism": mechanism, "parties": parties, "messages": messages, "wait": args.wait, "at": at, "row": row,
            "violations": found}


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
    parser.add_argument("--record", metavar="FILE", type=Path, help="keep what was judged here, and take from here what was")
    parser.add_argument("--for", metavar="S", type=float, default=float("inf"), dest="time",
                        help="begin no run later than that, seconds [no end]")
    parser.add_argument("--list", action="store_true", help="say what there is to do, and how much of it is done; run nothing")
    parser.add_argument("--every", metavar="S", type=float, default=1, help="longest pause between samples, seconds [1]")
    parser.add_argument("--bin", metavar="DIR", type=Path, default=target / "release", help="folder of the programs")
    parser.add_argument("--plant", action="store_true", help="count a descriptor more in each sample: must be found")
    args = parser.parse_args()
    if not (args.bin / "ipcost").exists():
        missing(f"{args.bin / 'ipcost'} does not exist; run cargo build --release, or name the folder with --bin")
    if args.plant and args.record:
        missing("what is planted is not recorded: --plant without --record")
    record, chosen = Record(args.record), list(cases(args))
    if not chosen:
        missing("nothing was chosen")

    def before(mechanism, parties):
        return record.done.get(record.key(mechanism, parties, number(args, mechanism), args.wait))

    if args.list:
        for one in chosen:
            done = before(*one)
            state = "to do" if done is None else f"{'violation' if done['violations'] else 'right'}, {done['at']}"
            print(f"{one[0]:<18}{one[1]:<9}{number(args, one[0]):>12}  {state}")
        return 0
    heads = "".join(f"{what:>9}" for what in WHAT)
    print(f"{'mechanism':<26}{'messages':>12}{'verified':>12}{'s':>8}{'samples':>9}{heads}", flush=True)
    start, ran, done = time.monotonic(), 0, []
    for one in chosen:
        run = before(*one)
        if run is None:
            if time.monotonic() - start > args.time:
                continue
            run = soak(args, *one)
            record.keep(run)
            ran += 1
            print(run["row"], flush=True)
        else:
            print(f"{run['row']}  recorded {run['at']}", flush=True)
        for what in run["violations"]:
            print(f"  VIOLATION {what}", flush=True)
        done.append(run)
    bad = sum(bool(run["violations"]) for run in done)
    print(f"{ran} runs in {time.monotonic() - start:.0f} s; {len(done)} of {len(chosen)} are done, {bad} with a violation; "
          "largest values of the parties, PSS of all, KiB")
    return 1 if bad else 3 if len(done) < len(chosen) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("soak.py: interrupted", file=sys.stderr)
        sys.exit(130)
