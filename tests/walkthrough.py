"""WALKTHROUGH.md, replayed: what is written in it is put into worksheets, and what the screen says is compared.

    python tests/walkthrough.py      writes what the screen says now into the document

In the document, a block of Python is what the learner writes: each definition in it takes the place of the one in the
worksheet that was started last. A block of text that begins with `$ minidl exercise` is a command, and what it said.
"""

import ast
import contextlib
import io
import re
import tempfile
from pathlib import Path

from minidl import cli
from minidl.exercises.curriculum import curriculum
from minidl.exercises.substitution import Definition, find
from minidl.exercises.worksheet import root, span

DOCUMENT = root() / "minidl" / "exercises" / "WALKTHROUGH.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def replayed(document, folder):
    """The document, with what the screen says in it now. Worksheets are in `folder`."""
    worksheet = None

    def replay(match):
        nonlocal worksheet
        kind, text = match.groups()
        if kind == "python":
            worksheet.write_text(written_into(worksheet.read_text(), text))
            return match.group()
        if not text.startswith("$ minidl exercise"):
            return match.group()
        command = text.splitlines()[0].removeprefix("$ minidl exercise").split()
        if command[:1] == ["start"]:
            worksheet = folder / curriculum()[command[1]].file_name
        return f"```text\n{text.splitlines()[0]}\n{said(command, folder)}```"

    return BLOCK.sub(replay, document)


def said(command, folder):
    """What a command prints, as if it were run in the clone, and worksheets were in work/."""
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        cli.main(["exercise", *command, "--dir", str(folder)])
    text = screen.getvalue().replace(f"{folder}/", "work/").replace(f"{root()}/", "")
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def written_into(worksheet, block):
    """The worksheet with the definitions of the block in it, and its helpers at the end."""
    tree = ast.parse(block)
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    worksheet = worksheet.replace("from minidl.exercises import", "\n".join([*imports, "from minidl.exercises import"]))
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in (m for m in members if isinstance(m, Definition)):
            name = f"{node.name}.{member.name}" if node is not member else node.name
            lines, new = worksheet.splitlines(), block.splitlines()[slice(*span(member))]
            try:
                start, end = span(find(ast.parse(worksheet), name))
            except KeyError:
                start = end = len(lines)
                new = ["", "", *new]
            worksheet = "\n".join([*lines[:start], *new, *lines[end:]]) + "\n"
    return worksheet


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text(replayed(DOCUMENT.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")
