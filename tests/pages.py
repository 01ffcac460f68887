"""What every report page keeps to, and how wide it is in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest

_VOID = ("img", "meta", "br", "wbr", "path", "use", "circle", "image", "rect")
# A page of frames, one for each report and width; what is wider than its place is written into its title.
_MEASURE = """<!doctype html><title>measuring</title><body><script>
const wide = [];
function measure(frame, name, width) {
  const page = frame.contentDocument, root = page.documentElement;
  if (root.scrollWidth > root.clientWidth) wide.push(`${name} at ${width}: the page, ${root.scrollWidth}`);
  for (const part of page.querySelectorAll("body *")) {
    if (part.parentElement.closest("svg, .sheet, pre")) continue;  // drawn, or reached by scrolling
    const style = frame.contentWindow.getComputedStyle(part);
    const scrolls = style.overflowX === "auto", inline = style.display === "inline";
    if (!scrolls && !inline && part.clientWidth && part.scrollWidth > part.clientWidth + 1
        || part.getBoundingClientRect().right > root.clientWidth + 1)
      wide.push(`${name} at ${width}: ${part.tagName} ${part.className} ${part.textContent.slice(0, 40)}`);
  }
}
const pages = PAGES;
Promise.all(pages.flatMap(([name, address]) => WIDTHS.map((width) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => { measure(frame, name, width); done(); };
  frame.src = address;
  document.body.append(frame);
})))).then(() => { document.body.textContent = "MEASURED" + JSON.stringify(wide) + "END"; });
</script>"""


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag, tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def plain(text: str) -> str:
    """What a page or card says, with plain spaces before units."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def check_page(path: Path) -> None:
    """One file without a server: contents, alt texts in numbers, tables, points of curves, a summary."""
    text = path.read_text(encoding="utf-8")
    page = _Page(text)
    assert page.open == []
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name) or ""
            assert re.match(r"$|#|data:image/|(?!\w+:|//)[^#]*\.html$", address), address[:80]
    assert not re.findall(r"\d (?:<small>)?(?:%|px)", text)  # a line may end there
    assert "@import" not in text
    assert "url(http" not in text
    headings = re.findall(r'<h2 id="([^"]+)"', text)
    assert len(headings) == text.count("<h2")
    if len(headings) >= 4:
        assert re.findall(r'<li><a href="#([^"]+)">', text) == headings
    for drawing in page.all("svg"):
        assert re.search(r"\d", drawing["aria-label"] or ""), drawing
    assert all(picture.get("alt") for picture in page.all("img"))
    sheets = [each for each in page.all("div") if (each.get("class") or "") == "sheet"]
    assert len(sheets) == len(page.all("table"))
    assert all(
        sheet["role"] == "region" and sheet["tabindex"] == "0" and sheet["aria-label"] for sheet in sheets
    )
    # What a pointer finds on a curve stands in a table too.
    tables = re.findall(r'<details class="points">(.*?)</details>', text, re.DOTALL)
    assert sum(table.count("<tr><td>") for table in tables) == text.count('class="mark"')
    sortable = text.count('class="sortable')
    assert not sortable or text.count('aria-sort="none"') >= sortable
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    summary = path.with_name(path.stem.replace("report", "summary") + ".json")
    facts = json.loads(summary.read_text(encoding="utf-8"))
    assert facts.keys() == {"kind", "title", "page", "numbers"}
    assert facts["page"] == path.name


def too_wide(pages: Iterable[Path], folder: Path, *, widths: tuple[int, ...]) -> list[str]:
    """What is wider than its place in a browser of these widths, in pixels; one browser for all pages."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here to measure pages with")
    named = [(f"{path.parent.name}/{path.name}", path.resolve().as_uri()) for path in pages]
    frames = folder / "frames.html"
    frames.write_text(_MEASURE.replace("PAGES", json.dumps(named)).replace("WIDTHS", json.dumps(widths)))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--allow-file-access-from-files", f"--user-data-dir={folder / 'browser'}", "--dump-dom"]
    command += ["--virtual-time-budget=20000", frames.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    [found] = re.findall(r"MEASURED(.*)END", shown, re.DOTALL)
    measured: list[str] = json.loads(found.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    return measured
