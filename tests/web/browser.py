"""Debian's chromium, headless, with a profile of its own; everything it logs and fetches is kept."""

import base64
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.e2e.node import PATIENCE_S, until

#: Nothing is fetched for the browser itself, nothing is remembered.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
PHONE = (360, 740)
DESK = (1180, 900)
_LOOKS = 20
_T = TypeVar("_T")
#: What chromium's driver says, besides of stale elements, when the page was replaced between two of
#: its own steps.
_REPLACED = ("inspector error", "aborted by navigation", "no such execution context")


class Browser:
    """A window on one page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def dark(self, on: bool = True) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def script(self, on: bool) -> None:
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not on})

    def open(self, url: str) -> None:
        self.driver.get(url)

    def text(self, name: str = "") -> str:
        """What a reader sees of the element with that id, or of all; looked for again where the
        page was replaced meanwhile.
        """

        def text() -> str:
            found = self.driver.find_elements("css selector", f"#{name}" if name else "body")
            return found[0].text if found else ""

        return self._looked(name or "the page", text)

    def count(self, selector: str) -> int:
        """How many elements there are of that kind."""
        return self._looked(selector, lambda: len(self.driver.find_elements("css selector", selector)))

    def _looked(self, what: str, look: Callable[[], _T]) -> _T:
        """What `look` finds; again where the page was replaced meanwhile, which the driver tells in
        several ways.
        """
        for _ in range(_LOOKS):
            try:
                return look()
            except StaleElementReferenceException:
                continue
            except WebDriverException as error:
                if not any(words in str(error) for words in _REPLACED):
                    raise
        raise AssertionError(f"{what} was replaced {_LOOKS} times while it was looked at")

    def see(self, words: str, name: str = "", patience_s: float = PATIENCE_S) -> str:
        """Wait until the words are there; all that is there then."""

        def seen() -> str:
            shown = self.text(name)
            return shown if words in shown else ""

        try:
            return until(words, seen, patience_s)
        except AssertionError:
            raise AssertionError(f"{words!r} is not in {name or 'the page'}:\n{self.text(name)}") from None

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def picture(self, path: str, height: int | None = None) -> None:
        """A PNG of the page from its top, as wide as the window; all of it without a height."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height or 10_000), "scale": 1}
        answer = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "clip": clip, "captureBeyondViewport": True}
        )
        whole = Image.open(io.BytesIO(base64.b64decode(answer["data"])))
        # a third of the bytes
        whole.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)

    def complaints(self) -> list[str]:
        """The console's warnings and errors, policy violations among them, since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Every address that anything in this window asked for, since the last call."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found


@contextmanager
def browser() -> Iterator[Browser]:
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and driver_path, "no chromium or no chromedriver here; cure: make test-web, which installs both"
    with tempfile.TemporaryDirectory(prefix="cmkms-browser-") as profile:
        options = Options()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(driver_path))
        driver.set_page_load_timeout(PATIENCE_S)
        driver.set_script_timeout(PATIENCE_S)
        try:
            driver.get("about:blank")
            shown = Browser(driver)
            shown.complaints(), shown.requests()  # of the browser's own first page
            yield shown
        finally:
            driver.quit()
