#!/usr/bin/env python3
"""What only a browser can see of the pages that `ipcost report` writes.

Each page is opened at 390 and 1400 px, light and dark. It must ask for nothing but itself and complain of nothing; be no
wider than the screen; have labels of 9 px at least that lie on nothing else; sort its tables, by mouse and by keyboard, and
say so in aria-sort; change its colours when told; and give its tables as CSV. With --shots, pictures of it are kept.
"""

import argparse
import base64
import os
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent / "browser"))
from devtools import Browser  # noqa: E402

LOOK = (pathlib.Path(__file__).parent / "browser" / "page.js").read_text()

SORTS = """(async () => {
  const found = [];
  for (const table of document.querySelectorAll("table")) {
    const heads = Array.from(table.tHead.rows[0].cells);
    const index = heads.findIndex((head) => head.classList.contains("n"));
    if (index < 0 || table.tBodies[0].rows.length < 2) continue;
    const values = () => Array.from(table.tBodies[0].rows).map((row) => row.cells[index])
      .map((cell) => cell.dataset.v ?? cell.textContent.trim()).filter((text) => text !== "" && !Number.isNaN(Number(text))).map(Number);
    const press = () => heads[index].querySelector("button").click();
    for (const [state, order] of [["ascending", (a, b) => a - b], ["descending", (a, b) => b - a]]) {
      press();
      if (heads[index].getAttribute("aria-sort") !== state) found.push(`${table.id}: aria-sort is not ${state}`);
      const now = values();
      if (JSON.stringify(now) !== JSON.stringify([...now].sort(order))) found.push(`${table.id}: not ${state}: ${now}`);
    }
  }
  return found;
})()"""

GROUND = "getComputedStyle(document.body).backgroundColor"

CSV = """(async () => {
  let text = null;
  const own = URL.createObjectURL;
  URL.createObjectURL = (blob) => { text = blob.text(); return own(blob); };
  HTMLAnchorElement.prototype.click = function () {};
  const found = [];
  for (const button of document.querySelectorAll("button.csv")) {
    text = null;
    button.click();
    const table = document.getElementById(button.dataset.of);
    const lines = (await text ?? "").split("\\n").length - 1;
    if (lines < table.rows.length) found.push(`${table.id}: ${lines} lines of CSV for ${table.rows.length} rows`);
  }
  return found;
})()"""


def keyboard(browser):
    """Whether a head that has the focus sorts when Enter is pressed, on a page with a table that sorts."""
    if not browser.run("document.querySelector('th.n button') !== null"):
        return []
    browser.run("document.querySelector('th.n button').focus()")
    before = browser.run("document.querySelector('th.n').getAttribute('aria-sort')")
    for kind in ["rawKeyDown", "char", "keyUp"]:
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r" if kind == "char" else "",
                    windowsVirtualKeyCode=13)
    after = browser.run("document.querySelector('th.n').getAttribute('aria-sort')")
    return [] if before != after and after in ("ascending", "descending") else [f"Enter leaves aria-sort {after}"]


def colours(browser, scheme):
    """Whether the button changes the colours, and the page remembers it."""
    first = browser.run(GROUND)
    browser.run("document.getElementById('theme').click()")
    second = browser.run(GROUND)
    found = [] if first != second else ["the button does not change the colours"]
    light = [sum(int(part) for part in ground[4:-1].split(",")[:3]) > 384 for ground in (first, second)]
    if light[0] != (scheme == "light"):
        found.append(f"a {scheme} system gets a ground of {first}")
    browser.run("document.getElementById('theme').click()")
    browser.run("try { localStorage.clear() } catch (error) {}")
    return found


def shoot(browser, folder, name):
    """Keeps a picture of the whole page, in pieces that a person can look at."""
    size = browser.ask("Page.getLayoutMetrics")["cssContentSize"]
    folder.mkdir(parents=True, exist_ok=True)
    for number, top in enumerate(range(0, int(size["height"]), 2400)):
        clip = {"x": 0, "y": top, "width": size["width"], "height": min(2400, size["height"] - top), "scale": 1}
        shot = browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        (folder / f"{name}-{number:02}.png").write_bytes(base64.b64decode(shot["data"]))


def check(browser, path, shots):
    """What is wrong with a page."""
    address, wrong = path.resolve().as_uri(), []
    for width, height in [(390, 844), (1400, 900)]:
        for scheme in ["light", "dark"]:
            where = f"{width} px, {scheme}"
            browser.open(address, width, height, scheme)
            if shots:
                shoot(browser, shots, f"{path.parent.name}-{width}-{scheme}")
            found = browser.run(LOOK)
            browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            found += [f"opened: {one}" for one in browser.run(LOOK)]
            found += browser.run(SORTS) + keyboard(browser) + colours(browser, scheme) + browser.run(CSV)
            others = [one for one in browser.requests() if one != address and not one.startswith(("data:", "blob:"))]
            found += [f"it asked for {one}" for one in others]
            found += browser.complaints()
            wrong += [f"{path}: {where}: {one}" for one in dict.fromkeys(found)]
    return wrong


def main():
    """Checks the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--browser", required=True, help="the browser's program")
    parser.add_argument("--shots", type=pathlib.Path, help="folder for pictures of the pages")
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    absent = [page for page in args.pages if not page.is_file()]
    if absent:
        print(f"there is no page {absent[0]}: make it with ipcost report", file=sys.stderr)
        return 2
    wrong = []
    with Browser(args.browser) as browser:
        for page in args.pages:
            wrong += check(browser, page, args.shots)
    for one in wrong[:60]:
        print(one)
    if len(wrong) > 60:
        print(f"and {len(wrong) - 60} more")
    print(f"{len(args.pages)} pages, {len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
