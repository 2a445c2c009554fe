"""What a round trip is made of: the bare hand-over, the payload work, the copies, the system calls, and what is left.

For scripts/limits.py. A round trip of each mechanism that blocks, both parties on one CPU, is taken apart:

    hand-over   the futex round trip that each run measures between its own two parties before and after its windows: two
                wakes, two switches and four system calls
    payload     writing and verifying both messages: `null` at the same size
    copies      what the mechanism states that a byte is copied, times what one copy adds: `copy` less `null`
    calls       its system calls beyond those four, counted by strace(1), times a call that does nothing
    residue     the rest: the kernel's or the crate's own work in these calls; below 0 where the parts overlap

Each is the median of fresh launches that take turns.
"""

import shutil
import statistics

from sides import Broken, calls

SIZES = (64, 65536)
HAND_OVER_CALLS = 4
HEAD = ("round trip, block, same-cpu", "ns", "hand-over", "payload", "copies", "calls", "residue", "residue/all")


def sums(mechanisms, side, run, null_call, launches, say):
    """A dictionary for each mechanism and size, and why others have none."""
    done, absent, samples = [], {}, {}
    if shutil.which("strace") is None:
        return [], {"sums": "strace is needed to count system calls, and it is not there"}
    # Threads of the kernel that poll on the parties' own CPU make a round trip of theirs a matter of time slices.
    subjects = [m for m in mechanisms if "block" in m["waits"] and m["name"] != "io-uring-sqpoll"]
    for number in range(launches):
        for mechanism in subjects:
            for size in SIZES:
                name = mechanism["name"]
                if name in absent or (name, size) in absent:
                    continue
                solo = mechanism["parties"][0] == "solo"
                say(f"launch {number + 1}/{launches}  {name} {size} B")
                options = ("--size", size, "--wait", "block", "--duration", "60ms")
                try:
                    found, _ = run(name, "ping-pong", *options, *(() if solo else ("--placement", "same-cpu")))
                except Broken as error:
                    absent[name, size] = str(error)
                    continue
                floor = found.get("floor", {}).get("handover_rtt_ns", [0.0])
                samples.setdefault((name, size), []).append((found["rtt_ns"]["mean"], statistics.mean(floor)))
    middle = {key: [statistics.median(column) for column in zip(*rows)] for key, rows in samples.items()}
    for mechanism in subjects:
        name = mechanism["name"]
        if mechanism["parties"][0] == "solo":
            continue
        for size in SIZES:
            if not {(name, size), ("null", size), ("copy", size)} <= middle.keys():
                continue
            try:
                wanted = side(name, "ping-pong", size, wait="block", placement="same-cpu", parties=mechanism["parties"][0])
                count = sum(calls(wanted).values())
            except Broken as error:
                absent[name, size] = str(error)
                continue
            whole, hand_over = middle[name, size]
            payload = middle["null", size][0]
            copies = mechanism["copies"] * max(middle["copy", size][0] - payload, 0)
            extra = (count - HAND_OVER_CALLS) * null_call
            residue = whole - hand_over - payload - copies - extra
            parts = {"hand_over": hand_over, "payload": payload, "copies": copies, "calls": extra, "residue": residue}
            done.append({"mechanism": name, "size": size, "ns": whole, "calls_counted": count, **parts})
    return done, {f"{key[0]} {key[1]} B" if isinstance(key, tuple) else key: why for key, why in absent.items()}


def shown(row):
    parts = (f"{row[part]:.0f}" for part in ("ns", "hand_over", "payload", "copies"))
    calls_of = f"{row['calls']:.0f} ({row['calls_counted']:.1f})"
    return f"{row['mechanism']} {row['size']} B", *parts, calls_of, f"{row['residue']:.0f}", f"{row['residue'] / row['ns']:.0%}"
