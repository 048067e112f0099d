"""Compare the output shown under the code of README.md and of the pages with what the code prints.

    python docs/outputs.py          # list the pages whose output differs
    python docs/outputs.py --write  # update them

A block of `text` right below a block of `python` is its output. Words must be equal; numbers may
differ by a third, since other machines round differently. It requires scikit-learn and pandas.
"""

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
MAX_DIFFERENCE = 1 / 3

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def run(page: Path, names: dict[str, Any]) -> list[str]:
    """Run the code of a page in a namespace, and return what each block prints."""
    printed = []
    for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(compile(block["code"], str(page), "exec"), names)
        printed.append(stdout.getvalue())
    return printed


def differences(page: Path, printed: Sequence[str]) -> list[str]:
    """Return the outputs of a page that are missing or differ from what was printed."""
    shown = [block["output"] or "" for block in _BLOCK.finditer(page.read_text(encoding="utf-8"))]
    pairs = zip(shown, printed, strict=True)
    return [f"shown:\n{old}printed:\n{new}" for old, new in pairs if not is_close(old, new)]


def is_close(shown: str, printed: str) -> bool:
    """Return whether two outputs have the same words, and numbers that hardly differ."""
    if _NUMBER.sub("#", shown).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(
        abs(float(a) - float(b)) <= MAX_DIFFERENCE * max(float(a), float(b)) for a, b in pairs
    )


def write(page: Path, printed: Sequence[str]) -> None:
    """Show under each block of a page what it printed."""
    outputs = iter(printed)

    def block_with_output(block: re.Match[str]) -> str:
        output = next(outputs)
        code = f"```python\n{block['code']}```\n"
        return f"{code}\n```text\n{output}```\n" if output else code

    page.write_text(_BLOCK.sub(block_with_output, page.read_text("utf-8")), encoding="utf-8")


def run_apart(page: Path) -> list[str]:
    """Run the code of a page in an empty folder."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # contextlib.chdir needs Python 3.11
        try:
            return run(page, {"__name__": "page"})
        finally:
            os.chdir(here)


def main() -> int:
    """Check or update the pages; return the number of pages that differ."""
    parser = argparse.ArgumentParser(description="Check the outputs that the pages show.")
    parser.add_argument("--write", action="store_true", help="update the pages")
    parser.add_argument("pages", nargs="*", type=Path, help="default: all pages that print")
    arguments = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    num_different = 0
    for page in [path.resolve() for path in arguments.pages] or PAGES:
        if not any("print(" in b["code"] for b in _BLOCK.finditer(page.read_text("utf-8"))):
            continue
        printed = run_apart(page)
        found = differences(page, printed)
        if found and arguments.write:
            write(page, printed)
        print(f"{page.relative_to(ROOT)}: {'differs' if found else 'as shown'}", flush=True)
        for difference in found:
            print(difference)
        num_different += bool(found)
    return 0 if arguments.write else num_different


if __name__ == "__main__":
    sys.exit(main())
