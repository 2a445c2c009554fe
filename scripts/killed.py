#!/usr/bin/env python3
"""Kills commands of ipcost at random moments and then looks for anything that was left.

Needs: Linux, python3 (3.9 or newer, standard library only), unshare(1) and mount(8), the right to make name spaces (root,
or user name spaces), and built programs (cargo build; --bin names their folder, otherwise $CARGO_TARGET_DIR/debug or
target/debug).

What happens: the script enters a mount and an IPC name space of its own, with an empty /dev/shm and /tmp, no System V object
and no message queue, so that nothing it finds or lets `ipcost clean` remove is anybody else's. Each moment starts one command
with folders of its own (TMPDIR, XDG_RUNTIME_DIR), waits for a random time, and ends it in one of these manners:

  ctrl-c        SIGINT to its process group, as a terminal sends it
  ctrl-c twice  the same again after some milliseconds
  term          SIGTERM to the process
  kill          SIGKILL to the process
  kill all      SIGKILL to the process and everybody it started, as an OOM killer or the stop of a container does

Then these must hold:

  processes  Nobody who has the mark of the moment in the environment runs: at once after ctrl-c and term (2 s for the
             kernel to end whom a signal was sent to), within 10 s after kill.
  names      After ctrl-c and term nothing is left in TMPDIR, XDG_RUNTIME_DIR, /dev/shm, among System V objects and
             message queues; the private folder `ipcost` and its `runs` may stay, empty. Who was killed cannot unlink: then
             `ipcost clean` removes everything and names it (registers apart), and a second `clean` finds nothing.
  results    The results folder is not there, or says that nothing was begun in it, or can be shown; every JSON file in it
             is whole, and a table in it is the one that `ipcost report` makes or an older one, never a beginning of it. At
             some moments the script also cuts the last line of the journal: that must be said. `compare --resume` then
             finishes the campaign with every run there once.

Exit status: 0 when all moments passed, 1 after a violation, 2 when something needed is missing.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "killed"))
from cases import CASES, MANNERS, prepare, strike  # noqa: E402
from folder import Folder, results  # noqa: E402
from place import Place, alone, inside, missing  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
# Longest wait for a command that was asked to end, and for one that is let go on: loaded machines, debug builds.
PATIENCE = 120
# After SIGKILL the kernel ends the rest of the family one after the other.
GRACE = {"ctrl-c": 2, "ctrl-c twice": 2, "term": 2, "kill": 10, "kill all": 10}
# Exit codes of a command that was asked to stop, or that ended by itself before: 130, or what it found. A signal that comes
# before the handler is there ends the process as it always does.
STOPPED = (130, 0, 1, -2, -15)


class Moment:
    """One command, killed once."""

    def __init__(self, args, number):
        self.rng = random.Random(f"{args.seed}/{number}")
        names = [name for name in CASES if args.command in name]
        if not names:
            missing(f"no command has {args.command!r} in its name; they are {', '.join(CASES)}")
        # Every command in turn, so that few moments meet many of them.
        self.name = names[number % len(names)]
        self.manner = MANNERS[self.rng.randrange(len(MANNERS))]
        self.number, self.bin, self.plant = number, args.bin, args.plant
        self.early = self.rng.random() < 0.4
        self.found, self.outcome = [], ""

    def wrong(self, what):
        self.found.append(what)

    def run(self, base):
        case = CASES[self.name]
        place = Place(base / str(self.number), self.bin)
        before = place.everything()
        moment = prepare(case, place, self.rng)
        delay = self.rng.uniform(0, 0.15 if self.early else case.span)
        family = moment.start()
        time.sleep(delay)
        if self.plant:
            (place.tmp / "planted").touch()
        ended = strike(family, self.manner, self.rng, place)
        self.outcome = f"{self.name}, {self.manner} after {1000 * delay:.0f} ms" + (", it had ended" if ended else "")
        self.ends(family, place)
        self.left(place, before)
        for command in moment.journals:
            results(Folder(command, place, self.rng, killed="kill" in self.manner), self.wrong)
        left = place.everything() - before
        if left:
            self.wrong(f"reading and finishing the results left {sorted(left)}")
        place.leave()

    def ends(self, family, place):
        for process in family:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.wrong(f"{process.args[0]} did not end within {PATIENCE} s")
        for process in family:
            process.said = place.read(process)
            if "kill" not in self.manner and process.struck and process.returncode not in STOPPED:
                self.wrong(f"exit code {process.returncode}: {process.said[-500:]}")
            if "panicked" in process.said:
                self.wrong(f"panic: {process.said[-500:]}")
        until = time.monotonic() + GRACE[self.manner]
        while place.family() and time.monotonic() < until:
            time.sleep(0.01)
        for pid, what in place.family():
            self.wrong(f"process {pid} still runs: {what}")
        place.kill_family()

    def left(self, place, before):
        left = place.everything() - before
        if left and "kill" not in self.manner:
            self.wrong(f"left although it was not killed: {sorted(left)}")
        code, said = place.clean()
        after = place.everything() - before
        if code != 0 or after:
            self.wrong(f"clean exits {code} and leaves {sorted(after)}: {said}")
        if "left alone" in said or "remark" in said:
            self.wrong(f"clean does not understand what was left: {said}")
        unnamed = [name for name in left - after if not place.is_register(name) and name not in said]
        if unnamed:
            self.wrong(f"clean did not say that it removed {sorted(unnamed)}: {said}")
        code, said = place.clean()
        if code != 0 or said.strip() != "nothing is left of dead runs":
            self.wrong(f"a second clean exits {code} and says: {said}")
        Place.removed += len(left - after)


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", metavar="N", type=int, default=200, help="how many [200]")
    parser.add_argument("--seed", metavar="N", type=int, help="seed of the moments [from the clock, and printed]")
    parser.add_argument("--only", metavar="K", type=int, help="this one moment of the seed")
    parser.add_argument("--command", metavar="SUBSTRING", default="", help="only commands with this in their name")
    parser.add_argument("--bin", metavar="DIR", type=Path, default=target / "debug", help="folder of the programs")
    parser.add_argument("--list", action="store_true", help="name the commands and kill nothing")
    parser.add_argument("--plant", action="store_true", help="leave a file, which must be found")
    parser.add_argument("--verbose", action="store_true", help="a line for each moment")
    args = parser.parse_args()
    args.bin = args.bin.resolve()
    args.seed = int(time.time()) if args.seed is None else args.seed
    return args


def main():
    args = arguments()
    if args.list:
        print("\n".join(CASES))
        return 0
    if not (args.bin / "ipcost").exists():
        missing(f"{args.bin / 'ipcost'} does not exist; run cargo build, or name the folder with --bin")
    if not inside():
        return alone([sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]], args.seed, args.bin)
    numbers = range(args.moments) if args.only is None else [args.only]
    bad, early, removed, start = 0, 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        Path(name).chmod(0o755)
        Place.queues(Path(name) / "mqueue")
        for number in numbers:
            moment = Moment(args, number)
            before = Place.removed
            moment.run(Path(name))
            removed += Place.removed - before
            early += moment.outcome.endswith("it had ended")
            bad += bool(moment.found)
            if args.verbose or moment.found:
                print(f"moment {number}: {moment.outcome}", flush=True)
            for what in moment.found:
                print(f"  VIOLATION {what}", flush=True)
            if moment.found:
                filtered = f" --command {args.command!r}" if args.command else ""
                print(f"  again: scripts/killed.py --seed {args.seed} --only {number}{filtered}", flush=True)
        Place.unmount(Path(name) / "mqueue")
    print(
        f"{len(numbers)} moments with seed {args.seed} in {time.monotonic() - start:.0f} s: {bad} with a violation; "
        f"{early} commands had ended before; {removed} names of killed ones were left, which clean removed"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("killed.py: interrupted", file=sys.stderr)
        sys.exit(130)
