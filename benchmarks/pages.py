"""What a reader waits for: weight, requests and times of every built page, read from disk.

The book must have been built. Each page is opened several times in a new browser with the network
closed; the medians count. A phone is a window of 390 pixels on a processor slowed down four times,
as Lighthouse has it, and what blocks it are the parts of long tasks beyond 50 ms. Milliseconds are
of this machine, so compare pages with each other.
Writes JSON to the file named on the command line, or prints it.

    python benchmarks/pages.py [results.json [looks at each page]]
"""

import gzip
import json
import os
import platform
import statistics
import sys
import urllib.parse
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
CHROMIUM = os.environ.get("DDT_CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
REPEATS = 3

WATCH = """window.blocked = 0;
new PerformanceObserver(list => list.getEntries().forEach(e => {
  window.blocked += Math.max(0, e.duration - 50);
})).observe({type: 'longtask', buffered: true});"""
TIMES = """() => new Promise(done => {
  const found = {shift: 0};
  new PerformanceObserver(list => { found.paint = list.getEntries().at(-1).startTime; })
    .observe({type: 'largest-contentful-paint', buffered: true});
  new PerformanceObserver(list => list.getEntries().forEach(e => { found.shift += e.value; }))
    .observe({type: 'layout-shift', buffered: true});
  const loaded = performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd;
  setTimeout(() => done({...found, loaded, blocked: window.blocked}), 500);
})"""


def weight(address: str) -> int:
    """Bytes of a local file as a server would send it."""
    path = Path(urllib.parse.unquote(urllib.parse.urlparse(address).path))
    if not path.is_file():
        return 0
    data = path.read_bytes()
    return len(data) if path.suffix in (".woff2", ".woff", ".png") else len(gzip.compress(data, 6))


def look(browser, name: str, width: int, height: int, slower: int) -> tuple[dict, list[str]]:
    """One look at a page through a window: its times, and what it asked for."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    context.add_init_script(WATCH)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.goto(f"file://{HTML / name}.html")
    page.evaluate("document.fonts.ready.then(() => 0)")
    seen = page.evaluate(TIMES)
    context.close()
    return seen, asked


def visit(browser, name: str) -> dict:
    """A look at a page on a desk and one on a phone."""
    seen, asked = look(browser, name, 1280, 900, 1)
    phone, _ = look(browser, name, 390, 844, 4)
    return {
        "requests": len(asked),
        "kilobytes": round(sum(map(weight, set(asked))) / 1000),
        "content loaded, ms": round(seen["loaded"]),
        "largest paint, ms": round(seen.get("paint", 0)),
        "layout shift": round(seen["shift"], 3),
        "phone: largest paint, ms": round(phone.get("paint", 0)),
        "phone: blocked, ms": round(phone["blocked"]),
        "phone: layout shift": round(phone["shift"], 3),
    }


def search(browser, query: str) -> dict:
    """How long a typed query waits for its first result."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(f"file://{HTML / 'search.html'}?q={query}")
    page.wait_for_selector("#search-results ul.search li a")
    waited = page.evaluate("performance.now()")
    first = page.locator("#search-results ul.search li a").first.inner_text()
    context.close()
    return {"query": query, "first result": first, "ms": round(waited)}


def main() -> None:
    names = sorted(
        p.relative_to(HTML).with_suffix("").as_posix() for p in (HTML / "book").rglob("*.html")
    )
    if not names:
        sys.exit("no pages in _build/html; run make book first")
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        pages = {}
        for name in names:
            looks = [visit(browser, name) for _ in range(repeats)]
            pages[name] = {k: statistics.median(look[k] for look in looks) for k in looks[0]}
        found = search(browser, "gradient")
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Chromium {browser.version}"
        browser.close()
    text = (
        json.dumps(
            {"machine": machine, "looks": repeats, "pages": pages, "search": found}, indent=1
        )
        + "\n"
    )
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
