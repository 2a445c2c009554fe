"""A running side, a launch of both, and what the kernel is asked per message."""

import json
import os
import re
import select
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE_S = 30
# For windows of many millions of messages.
LONG_PATIENCE_S = 300


class Broken(Exception):
    """A side did not do what it was asked."""


class Impossible(Broken):
    """ipcost says that this machine cannot do it."""


class Cell:
    """A started side that carries messages when told to and sleeps in between."""

    def __init__(self, side, under=()):
        self.side = side
        self.rest = b""
        self.process = subprocess.Popen(
            [*under, *side.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            if side.plan is not None:
                self.say(json.dumps(side.plan))
            line = self.hear()
            if line != "ready":
                raise refusal(side, line)
        except BaseException:
            self.kill()
            raise

    def say(self, line):
        try:
            self.process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise Broken(f"{self.side.label} ended early") from None

    def hear(self, patience=PATIENCE_S):
        fd = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if not select.select([fd], [], [], patience)[0]:
                raise Broken(f"{self.side.label} said nothing for {patience} s")
            part = os.read(fd, 65536)
            if not part:
                raise Broken(f"{self.side.label} ended early")
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def carry(self, messages, patience=PATIENCE_S):
        """Time per message in ns."""
        self.say(str(messages))
        line = self.hear(patience)
        if not line.isdigit():
            raise refusal(self.side, line)
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
        """Ends it, and with it its child, which asked to die with its parent. First politely: a System V queue outlives
        whoever is killed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
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


def refusal(side, line):
    """What an outcome that came instead of an answer says."""
    try:
        outcome = json.loads(line)
        kind = Impossible if outcome.get("status") == "unsupported" else Broken
        return kind(f"{side.label}: {outcome['reason']}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Broken(f"{side.label}: unexpected answer {line!r}")


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


def launch(a, b, pairs, window_ns, b_first, before=(0, 0)):
    """Both sides, started afresh: messages per window and pairs of times per message. Before that, each
    carries as many messages as `before` says."""
    cells = []
    try:
        for side in (b, a) if b_first else (a, b):
            cells.append(Cell(side))
        if b_first:
            cells.reverse()
        for cell, history in zip(cells, before):
            if history:
                cell.carry(history, LONG_PATIENCE_S)
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


def lengths(side, short, long, turns):
    """Time a message of one long window over that of short ones with as many messages together, half of them before it
    and half of them after it: the median of so many turns."""
    cell = Cell(side)
    try:
        cell.carry(short)
        ratios, half = [], range(long // short // 2)
        for _ in range(turns):
            before = [cell.carry(short) for _ in half]
            whole = cell.carry(long, LONG_PATIENCE_S)
            ratios.append(whole / statistics.mean(before + [cell.carry(short) for _ in half]))
        cell.end()
        return statistics.median(ratios)
    finally:
        cell.kill()


def calls(side, messages=1000):
    """System calls per message, under strace(1): what a window of three times as many messages needs more than one, so
    that those around a window cancel out.

    Tracing makes every call slow, so a party sleeps more often or more rarely than it otherwise would. What a mechanism
    asks for each message whatever happens is exact; calls that put to sleep and wake are not.
    """
    with tempfile.NamedTemporaryFile(prefix="plain-", suffix=".strace") as log:
        cell = Cell(side, ("strace", "-f", "-qq", "-o", log.name))
        try:
            cell.carry(messages)
            cell.carry(3 * messages)
        finally:
            cell.kill()
        short, long = windows_of(Path(log.name).read_text(errors="replace"))
    per_message = {name: (long[name] - short.get(name, 0)) / (2 * messages) for name in sorted(long)}
    return {name: count for name, count in per_message.items() if abs(count) > 0.01}


def windows_of(text):
    """Calls of all threads in each of two windows: those before an answer on standard output, the first being "ready"."""
    found = [{}]
    for line in text.splitlines():
        call = re.match(r"\d+\s+(\w+)\(", line)
        if re.match(r"\d+\s+write\(1, ", line):
            found.append({})
        elif call:
            found[-1][call[1]] = found[-1].get(call[1], 0) + 1
    return found[1], found[2]
