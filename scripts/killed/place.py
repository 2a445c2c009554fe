"""Where the commands run: name spaces and folders that nobody else uses, who runs there, and what has a name there.

Source: namespaces(7), mq_overview(7), proc_pid_environ(5), sysvipc(7).
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))
import family  # noqa: E402

# Set in the environment of the script once it is in its own name spaces.
INSIDE = "KILLED_INSIDE"


def missing(what):
    print(f"killed.py: {what}", file=sys.stderr)
    sys.exit(2)


def inside():
    return INSIDE in os.environ


def mode(place):
    return f"{os.stat(place).st_mode & 0o7777:o}"


def alone(command, seed, binaries):
    """Runs the script again in name spaces of its own; as root of a user name space where it is not root."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        missing("unshare(1) and mount(8) are needed (util-linux), and they are not there")
    enter = ["unshare", "--mount", "--ipc", "--propagation", "private"]
    if os.geteuid() != 0:
        enter += ["--user", "--map-root-user"]
    tried = subprocess.run([*enter, "mount", "-t", "tmpfs", "none", "/dev/shm"], capture_output=True, text=True)
    if tried.returncode != 0:
        missing(f"no name spaces of its own here: {tried.stderr.strip()}")
    # Everything that `ipcost clean` looks through is hidden, /tmp too: else it finds, and names, what other runs on the machine
    # have there. The programs, and this script, may lie there themselves: they are kept under their names.
    hidden = [place for place in ("/dev/shm", f"/run/user/{os.geteuid()}", "/tmp") if os.path.isdir(place)]
    needed = [path for path in (binaries, SCRIPTS) if any(path.is_relative_to(place) for place in hidden)]
    steps = [f"mount -t tmpfs -o mode={mode(place)} none {place}" for place in hidden[:1]]
    keep = {path: f"{hidden[0]}/kept-{number}" for number, path in enumerate(needed)}
    for path, kept in keep.items():
        steps.append(f"mkdir {kept} && mount --bind {shlex.quote(str(path))} {kept}")
    steps += [f"mount -t tmpfs -o mode={mode(place)} none {place}" for place in hidden[1:]]
    for path, kept in keep.items():
        steps.append(f"mkdir -p {shlex.quote(str(path))} && mount --move {kept} {shlex.quote(str(path))} && rmdir {kept}")
    script = " && ".join([*steps, 'exec "$@"'])
    if "--seed" not in command:
        command = [*command, "--seed", str(seed)]
    environment = {**os.environ, INSIDE: "1"}
    return subprocess.run([*enter, "sh", "-c", script, "sh", *command], env=environment).returncode


class Place:
    """Folders of one moment, and all that has a name in the name spaces."""

    # Of all moments: names that were left and that clean removed.
    removed = 0
    mqueue = None

    def __init__(self, base, programs):
        self.base, self.bin = base, programs
        self.tmp, self.run = base / "tmp", base / "run"
        self.tmp.mkdir(parents=True)
        self.tmp.chmod(0o1777)
        self.run.mkdir(mode=0o700)
        self.mark = f"{os.getpid()}-{base.name}"
        self.count = 0

    @classmethod
    def queues(cls, at):
        """Mounts the message queues of this name space, over those of the outer one where they are mounted."""
        lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        there = next((Path(fields[1]) for fields in lines if fields[2] == "mqueue"), None)
        if there is None:
            at.mkdir()
        cls.mqueue = there or at
        subprocess.run(["mount", "-t", "mqueue", "none", str(cls.mqueue)], check=True)

    @classmethod
    def unmount(cls, at):
        if cls.mqueue == at:
            subprocess.run(["umount", str(at)], check=True)

    def command(self, program, *arguments, **streams):
        """Starts a program; what it says goes into a file."""
        self.count += 1
        log = open(self.base / f"said-{self.count}", "w+b")
        environment = {key: value for key, value in os.environ.items() if key != INSIDE}
        environment |= {"TMPDIR": str(self.tmp), "XDG_RUNTIME_DIR": str(self.run), family.VARIABLE: self.mark}
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **streams}
        command = [str(self.bin / program), *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, cwd=self.base, start_new_session=True, **streams)
        process.log, process.struck = log, False
        return process

    @staticmethod
    def read(process):
        process.log.seek(0)
        return process.log.read().decode(errors="replace")

    def whole(self, *arguments, patience=180):
        """Runs `ipcost` to its end: exit code and all that it said."""
        process = self.command("ipcost", *arguments)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill_family()
            process.wait()
            return None, f"no end within {patience} s: {self.read(process)}"
        return process.returncode, self.read(process)

    def clean(self):
        return self.whole("clean")

    def family(self):
        """Who runs with the mark of this moment: process id and command line."""
        return family.members(self.mark)

    def kill_family(self):
        """Ends all of them, again until nobody is left: one may be starting another."""
        for _ in range(1000):
            family = self.family()
            if not family:
                return
            for pid, _ in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def everything(self):
        """All that outlives a process, as `ipcost clean` would call it."""
        private = self.run / "ipcost"
        found = {str(entry) for folder in (self.tmp, self.run, private, private / "runs", Path("/dev/shm"))
                 if folder.is_dir() for entry in folder.iterdir()}
        for kept in (private / "runs", private):
            found.discard(str(kept))
        found |= {f"message queue /{entry.name}" for entry in self.mqueue.iterdir()}
        for table, what in (("msg", "queue"), ("shm", "segment"), ("sem", "semaphore set")):
            for line in Path("/proc/sysvipc", table).read_text().splitlines()[1:]:
                found.add(f"System V {what} {int(line.split()[0]) & 0xFFFFFFFF:#x}")
        return found

    def is_register(self, name):
        return name.startswith(str(self.run / "ipcost" / "runs"))

    def leave(self):
        shutil.rmtree(self.base)
