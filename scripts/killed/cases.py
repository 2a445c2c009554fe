"""The commands that are killed, and the manners of killing."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field

MANNERS = ("ctrl-c", "ctrl-c twice", "term", "kill", "kill", "kill all", "kill all")

# Mechanisms with names or objects outside the process, and one of each other kind; between processes and threads.
NAMED = "pipe,fifo,unix-stream,shm-ring,posix-shm,posix-mq,sysv-mq,sysv-shm,mmap-file,file,mutex-queue"
# Stands for some of them, drawn anew at each moment: all at once would take long.
SOME, HOW_MANY = "SOME", 3


@dataclass
class Case:
    """A command: what it is, and how long it takes at least, seconds."""

    span: float
    arguments: tuple = ()
    # For programs of one mechanism.
    program: str = "ipcost"
    # The kind of results folder: compare, claims, faults, or none.
    keeps: str = ""
    # Killed once before, and continued.
    resumed: bool = False
    # Two programs that meet here: the kind of meeting place.
    meet: str = ""


def compare(*arguments, **more):
    # What is left is finished afterwards.
    arguments = ("compare", "--wait", "block", "--rounds", 2, "--budget", "4s", *arguments)
    return Case(6.0, arguments, keeps="compare", **more)


def thin(mechanism, *arguments):
    return Case(1.5, (*arguments, "--duration", "1500ms"), program=f"ipc-{mechanism}")


def roles(mechanism, meet):
    return Case(0.8, program=f"ipc-{mechanism}", meet=meet)


CASES = {
    "compare": compare("--mechanism", SOME, "--workload", "ping-pong", "--placement", "same-cpu"),
    "compare streams": compare("--mechanism", "posix-mq,sysv-mq", "--workload", "stream", "--placement", "same-cpu"),
    "compare patterns": compare("--mechanism", "posix-mq,sysv-mq", "--workload", "pairs,fan-in", "--peers", 2,
                                "--placement", "same-cpu"),
    "compare --resume": compare("--mechanism", SOME, "--workload", "ping-pong", "--placement", "same-cpu", resumed=True),
    "claims": Case(4.0, ("claims", "creation", "takeover", "--budget", "1s"), keeps="claims"),
    "claims isolation": Case(4.0, ("claims", "isolation", "synchronisation", "--budget", "1s"), keeps="claims"),
    "faults": Case(6.0, ("faults", "--quick", "--mechanism", SOME), keeps="faults"),
    "faults queues": Case(4.0, ("faults", "--quick", "--mechanism", "sysv-mq,posix-mq,shm-mutex"), keeps="faults"),
    "check": Case(4.0, ("check", "--only", "boundary,faults", "--mechanism", "posix-mq,sysv-mq,fifo,shm-ring,file")),
    "check tables": Case(4.0, ("check", "--only", "doubling,tables,controls", "--mechanism", "pipe,sysv-shm")),
    "limits": Case(2.0, ("limits",)),
    "host": Case(0.3, ("host",)),
    "list": Case(0.3, ("list",)),
    "ipc-pipe ping-pong": thin("pipe", "ping-pong"),
    "ipc-fifo ping-pong": thin("fifo", "ping-pong"),
    "ipc-file stream": thin("file", "stream", "--size", "64KiB"),
    "ipc-posix-mq ping-pong": thin("posix-mq", "ping-pong"),
    "ipc-posix-mq pairs": thin("posix-mq", "pairs", "--peers", 3),
    "ipc-sysv-mq ping-pong": thin("sysv-mq", "ping-pong"),
    "ipc-sysv-mq stream": thin("sysv-mq", "stream"),
    "ipc-sysv-mq fan-in": thin("sysv-mq", "fan-in", "--peers", 3),
    "ipc-sysv-shm ping-pong": thin("sysv-shm", "ping-pong"),
    "ipc-posix-shm stream": thin("posix-shm", "stream"),
    "ipc-shm-ring ping-pong": thin("shm-ring", "ping-pong", "--parties", "thread"),
    "ipc-unix-stream offered-load": thin("unix-stream", "offered-load", "--rate", "10k"),
    "ipc-tcp stream": thin("tcp", "stream"),
    "roles shm-ring": roles("shm-ring", "name"),
    "roles posix-shm": roles("posix-shm", "name"),
    "roles posix-mq": roles("posix-mq", "name"),
    "roles mmap-file": roles("mmap-file", "path"),
    "roles file": roles("file", "path"),
    "roles fifo": roles("fifo", "path"),
    "roles unix-stream": roles("unix-stream", "path"),
    "roles unix-dgram": roles("unix-dgram", "path"),
    "roles tcp": roles("tcp", "address"),
    "roles sysv-shm": roles("sysv-shm", "key"),
    "roles sysv-mq": roles("sysv-mq", "key"),
    "roles pipe": roles("pipe", "streams"),
}


@dataclass
class Ready:
    """A command that can be started, and the results folders that it may leave with what makes them."""

    start: object
    journals: list = field(default_factory=list)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def prepare(case, place, rng):
    if case.meet:
        return Ready(lambda: meet(case, place, rng))
    some = ",".join(rng.sample(NAMED.split(","), HOW_MANY))
    arguments = [some if argument is SOME else argument for argument in case.arguments]
    if not case.keeps:
        return Ready(lambda: [place.command(case.program, *arguments)])
    out = place.base / "out"
    arguments += ["--seed", rng.randrange(1000), "--out", out]
    journal = (case, arguments, out)
    if not case.resumed:
        return Ready(lambda: [place.command("ipcost", *arguments)], [journal])
    # Something to go on with.
    first = place.command("ipcost", *arguments)
    time.sleep(rng.uniform(0.3, 2))
    first.kill()
    first.wait()
    while place.family():
        time.sleep(0.01)
    place.clean()
    begun = (out / "campaign.json").exists()
    again = ["compare", "--resume", out] if begun else arguments
    return Ready(lambda: [place.command("ipcost", *again)], [journal])


def meet(case, place, rng):
    """Two programs, either of which may come first."""
    at = {
        "name": f"killed-{place.mark}",
        "path": place.tmp / "place",
        "address": f"127.0.0.1:{free_port()}" if case.meet == "address" else "",
        "key": f"{0x1BC0_0000 + rng.randrange(1 << 20):#x}",
    }.get(case.meet)
    place_option = [] if at is None else ["--at", at]
    patience = ["--patience", "5s"]
    produce = ["producer", *place_option, *patience, "--duration", "60s"]
    consume = ["consumer", *place_option, *patience]
    if case.meet == "streams":
        read, write = os.pipe()
        family = [place.command(case.program, *produce, stdout=write), place.command(case.program, *consume, stdin=read)]
        os.close(read)
        os.close(write)
        return family
    if rng.random() < 0.5:
        produce, consume = consume, produce
    first = place.command(case.program, *produce)
    # At times the second one comes too late for the first one to see it.
    time.sleep(rng.uniform(0, 0.1))
    return [first, place.command(case.program, *consume)] if rng.random() < 0.8 else [first]


def strike(family, manner, rng, place):
    """Ends one of the programs in this manner; whether all had ended before."""
    ended = all(process.poll() is not None for process in family)
    victim = family[rng.randrange(len(family))]
    # Both are in the foreground of a terminal only where they are joined by a pipe; two terminals have one each.
    victim.struck = True

    def group(number):
        try:
            os.killpg(victim.pid, number)
        except ProcessLookupError:
            pass

    if manner.startswith("ctrl-c"):
        group(signal.SIGINT)
        if manner.endswith("twice"):
            time.sleep(rng.uniform(0.001, 0.05))
            group(signal.SIGINT)
    elif manner == "term":
        victim.send_signal(signal.SIGTERM)
    elif manner == "kill":
        victim.kill()
    else:
        place.kill_family()
    return ended
