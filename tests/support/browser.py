"""Chromium as a test drives it, and MLflow's page as ``journeyman ui`` serves it."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 90.0
"""Seconds a page has to draw itself; it takes four on an idle machine of two cores."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium refuses to run as root otherwise, as containers do
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1600,1200",
    "--remote-debugging-pipe",
)


class Browser:
    """Chromium, told what to do over its DevTools pipe: JSON that ends with a zero byte."""

    def __init__(self, program: str, profile: Any) -> None:
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        # Chromium reads descriptor 3 and writes descriptor 4; ours must not be one of them.
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (from_us, to_us)]
        redirect = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        self.log = (profile / "chromium.log").open("w+")
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        for descriptor in (from_us, to_us, *theirs):
            os.close(descriptor)
        self._out, self._in, self._unread = to_browser, from_browser, b""
        self._calls, self._session = 0, None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in pages if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" not in self._unread:
                left = max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select([self._in], [], [], left)
                part = os.read(self._in, 1 << 16) if ready else b""
                if not part:
                    self.log.seek(0)
                    pytest.fail(f"Chromium does not answer {method}:\n{self.log.read()[-2000:]}")
                self._unread += part
            line, self._unread = self._unread.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        # While a page is being replaced there is nothing to evaluate in.
        return None if "exceptionDetails" in answer else answer["result"].get("value")

    def wait_for(self, expression: str, what: str) -> Any:
        """Waits until an expression is true, and returns its value."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.2)
        seen = self.evaluate("document.body.innerText")
        pytest.fail(f"the page does not show {what}; it shows:\n{seen}")

    def click(self, element: str) -> None:
        """Presses and releases the mouse on an element: menus do not open by script alone."""
        middle = f"""(() => {{
            const box = {element}.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.evaluate(middle)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str, *, enter: bool = False) -> None:
        """Writes text where the focus is, and presses Enter on request."""
        self.call("Input.insertText", text=text)
        if enter:
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
            self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._out, self._in):
            os.close(descriptor)
        self.log.close()


def find_chromium() -> str:
    """Returns Chromium's path; without one the test is skipped, on a CI machine it fails."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        if "CI" in os.environ:
            pytest.fail("Chromium is not installed (Debian: apt-get install chromium)")
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    return found


@contextlib.contextmanager
def page_server(outputs: Path) -> Iterator[str]:
    """Runs ``journeyman ui`` and yields the link it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A file of the user's own that bears the name of a library of MLflow's server.
    (outputs.parent / "flask.py").write_text("raise RuntimeError('the wrong flask')")
    command = [sys.executable, "-m", "journeyman", "ui", "--outputs", str(outputs)]
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=outputs.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": ""},
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("The curves: http://"), line + server.stdout.read()
        yield line.removeprefix("The curves: ").strip()
    finally:
        server.terminate()
        server.communicate(timeout=20)


RUN_NAMES = """
[...document.querySelectorAll("a[href*='/runs/']")].map(link => link.innerText.trim())
"""
