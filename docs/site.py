"""What `mkdocs.yml` cannot say: pages from the top of the project, pages made from the code, and their links.

mkdocs calls the functions that begin with `on_`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from from_code.command_page import command_page
from from_code.equation_page import equation_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
# Pages at the top of the project, and their names in the site.
FROM_TOP = {
    "README.md": "index.md",
    **{name: name for name in ("RESULTS.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")},
}
_TASKS = "three_tasks.md"  # a section of README that is a page of the site
_AT_TOP = {*FROM_TOP.values(), _TASKS}
_LINK = re.compile(r"(?P<mark>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name headings as GitHub does, so that a link to one works in both places."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/."""
    pages = {site: (ROOT / name).read_text(encoding="utf-8") for name, site in FROM_TOP.items()}
    before, _, after = pages["index.md"].partition("\n## Three tasks\n")
    tasks, _, rest = after.partition("\n## Results\n")
    pages["index.md"] = f"{before}\n## Results\n{rest}"
    pages[_TASKS] = f"# The three tasks\n{tasks.replace('### ', '## ')}"
    pages["reference/commands.md"] = command_page()
    pages["reference/equations.md"] = equation_page(ROOT)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the pages of the site; where there is none, as for a config, the text stays."""
    place = page.file.src_uri
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(lambda found: _link(found, place, files), text) for text in parts[::2]]
    return "".join(parts)


def _link(found: re.Match[str], place: str, files: Files) -> str:
    address, mark, anchor = found["target"].partition("#")
    if not address or "://" in address:
        return found[0]
    folder = "" if place in _AT_TOP else posixpath.join("docs", posixpath.dirname(place))
    in_project = posixpath.normpath(posixpath.join(folder, address))
    in_site = FROM_TOP.get(in_project, in_project.removeprefix("docs/"))
    if files.get_file_from_path(in_site) is None or not (
        in_project.startswith("docs/") or in_project in FROM_TOP
    ):
        return found["text"]
    relative = posixpath.relpath(in_site, posixpath.dirname(place) or ".")
    return f"{found['mark']}[{found['text']}]({relative}{mark}{anchor})"
