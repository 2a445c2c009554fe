"""Whether what was kept can be read, and a campaign finished."""

import json

JOURNALS = {"compare": "cells.jsonl", "claims": "claims.jsonl", "faults": "faults.jsonl"}
# What is said of a folder in which nothing was begun, and of a line that a kill cut.
NOTHING, CUT = "holds no results", "was ignored"
TABLES = (".csv", ".md", ".svg", ".html")


class Folder:
    """A results folder, the command that made it, and whether that was killed."""

    def __init__(self, journal, place, rng, killed):
        self.case, self.arguments, self.dir = journal
        self.place, self.rng, self.killed = place, rng, killed
        self.journal = self.dir / JOURNALS[self.case.keeps]

    def text(self, suffixes):
        files = [path for path in self.dir.iterdir() if path.suffix in suffixes]
        return {path.name: path.read_bytes() for path in files}

    def cut(self):
        """Cuts the last line somewhere; whether there was any to cut."""
        whole = self.journal.read_bytes() if self.journal.exists() else b""
        start = whole.rfind(b"\n", 0, len(whole) - 1) + 1
        # A line that lacks only its end is whole; one of which nothing is left is none.
        if len(whole) - start < 3:
            return False
        self.journal.write_bytes(whole[: self.rng.randrange(start + 1, len(whole) - 1)])
        return True


def results(folder, wrong):
    """Reports everything that is wrong with the folder to `wrong`."""
    if not folder.dir.exists():
        return
    for path in folder.dir.iterdir():
        if path.suffix == ".json":
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                wrong(f"{path.name} is cut: {error}")
    before = folder.text(TABLES)
    was_cut = folder.killed and folder.rng.random() < 0.5 and folder.cut()
    code, said = folder.place.whole("show", folder.dir)
    begun = not (code == 2 and NOTHING in said)
    if begun and code != 0:
        wrong(f"show exits {code}: {said[-600:]}")
    if was_cut and CUT not in said:
        wrong(f"show does not say that the last line was cut: {said[-600:]}")
    if begun:
        code, said = folder.place.whole("report", folder.dir)
        if code != 0:
            wrong(f"report exits {code}: {said[-600:]}")
        after = folder.text(TABLES)
        for name, text in before.items():
            whole = after.get(name, b"")
            if not was_cut and text != whole and whole.startswith(text):
                wrong(f"{name} was only its beginning: {len(text)} of {len(whole)} bytes")
        drafts = [path.name for path in folder.dir.iterdir() if path.name.startswith(".")]
        if drafts:
            wrong(f"drafts are left in the results folder: {drafts}")
    if folder.case.keeps == "compare":
        finish(folder, begun, wrong)
    elif not begun:
        again(folder, wrong)


def again(folder, wrong):
    """A folder in which nothing was begun can be used; that is seen at the first line of its journal."""
    process = folder.place.command("ipcost", *folder.arguments)
    for _ in range(6000):
        if process.poll() is not None or (folder.journal.exists() and folder.journal.stat().st_size > 0):
            break
        try:
            process.wait(0.01)
        except Exception:  # noqa: BLE001 - a timeout, which is what is waited for
            pass
    if process.poll() not in (None, 0, 1):
        wrong(f"the folder cannot be used again: {folder.place.read(process)[-600:]}")
    process.terminate()
    process.wait(120)


def finish(folder, begun, wrong):
    arguments = ["compare", "--resume", folder.dir] if begun else folder.arguments
    code, said = folder.place.whole(*arguments, patience=300)
    # A run that fails on a loaded machine is no violation: all runs must be there.
    if code not in (0, 1):
        wrong(f"{' '.join(map(str, arguments[:2]))} exits {code}: {said[-600:]}")
        return
    campaign = json.loads((folder.dir / "campaign.json").read_bytes())
    lines = [json.loads(line) for line in folder.journal.read_bytes().splitlines()]
    orders = [line["order"] if "order" in line else line["run"]["order"] for line in lines]
    if len(set(orders)) != len(orders):
        wrong("a run was done twice")
    dropped = {"failed", "timeout", "unsupported"}
    expected = len(campaign["cells"]) * campaign["rounds"]
    short = sum(line["status"] in dropped for line in lines)
    if len(lines) + short * (campaign["rounds"] - 1) < expected:
        wrong(f"{len(lines)} of {expected} runs after it was finished")
    code, said = folder.place.whole("show", folder.dir)
    if code != 0 or CUT in said:
        wrong(f"show of the finished campaign exits {code}: {said[-600:]}")
