"""A browser without a window, spoken to through two pipes.

Key decision: the DevTools protocol over --remote-debugging-pipe, which is JSON with a NUL after each message on the
descriptors 3 and 4. Rejected: a WebDriver (another program to install), a port (another program could speak to it).
Source: https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import select
import subprocess
import tempfile
import time

DEADLINE = 120


class Browser:
    """One browser with a page. What the page says unasked is kept in `events`."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="ipcost-browser-")
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()
        flags = ["--headless", "--disable-gpu", "--disable-extensions", "--disable-background-networking",
                 "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--remote-debugging-pipe", f"--user-data-dir={self.folder.name}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        wires = f"exec 3<&{to_browser} 4>&{from_browser}; exec \"$@\""
        self.process = subprocess.Popen(["bash", "-c", wires, "browser", program, *flags, "about:blank"],
                                        pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.ask("Browser.close")
        except (OSError, RuntimeError):
            self.process.kill()
        self.process.wait(timeout=DEADLINE)
        self.folder.cleanup()

    def ask(self, method, **params):
        """Sends a command and waits for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        deadline = time.monotonic() + DEADLINE
        while True:
            answer = self.hear(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def hear(self, deadline):
        """The next message."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.into], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise RuntimeError(f"the browser said nothing for {DEADLINE} s")
            more = os.read(self.into, 1 << 16)
            if not more:
                raise RuntimeError("the browser ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, address, width, height, scheme):
        """Opens a page at this width under this colour scheme and waits until it is there."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.ask("Page.navigate", url=address)
        deadline = time.monotonic() + DEADLINE
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.hear(deadline)

    def run(self, script):
        """What a script on the page gives."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{answer['exceptionDetails']}")
        return answer["result"].get("value")

    def requests(self):
        """Addresses that were asked for since the page was opened."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self):
        """What the page threw or logged as an error."""
        thrown = [event for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        logged = [event for event in self.events if event["method"] == "Log.entryAdded"
                  and event["params"]["entry"]["level"] in ("error", "warning")]
        spoken = [event for event in self.events if event["method"] == "Runtime.consoleAPICalled"
                  and event["params"]["type"] in ("error", "warning", "assert")]
        return [json.dumps(event["params"])[:300] for event in thrown + logged + spoken]
