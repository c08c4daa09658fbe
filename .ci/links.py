"""Checks that links between the project's own pages lead somewhere: files and headings."""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def anchor(heading):
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def pages(arguments):
    for argument in map(Path, arguments):
        yield from sorted(argument.rglob("*.md")) if argument.is_dir() else [argument]


def main():
    problems, links = [], 0
    for page in pages(sys.argv[1:]):
        text = FENCE.sub("", page.read_text())
        body = HEADING.sub("", text).strip()
        if not body:
            problems.append(f"{page}: no text under its heading")
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            links += 1
            name, _, fragment = target.partition("#")
            file = (page.parent / name).resolve() if name else page.resolve()
            if not file.exists():
                problems.append(f"{page}: {target} leads nowhere")
            elif fragment and file.suffix == ".md":
                headings = {anchor(heading) for heading in HEADING.findall(FENCE.sub("", file.read_text()))}
                if fragment not in headings:
                    problems.append(f"{page}: {target} names no heading")
    print(f"{links} links checked, {len(problems)} broken")
    print("\n".join(problems))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
