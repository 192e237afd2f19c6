"""Rules that nobody checks erode within months, so the house rules that a program can see are run.

The admired big codebases of this field regret one thing above all: 68 of 93 sub-packages of one of
them import each other in a single circle. Each rule here is also shown to catch a planted breach.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stream_events", "inventory", "orders", "realtime", "server")
# A migration is one long dated list of statements, written by Alembic and never read as a whole.
GENERATED = ROOT / "server" / "migrations" / "versions"
PURE = (
    "orders.pricing",
    "orders.lifecycle",
    "orders.fulfilment",
    "orders.verdicts",
    "orders.attempt_life",
    "orders.order_parts",
    "orders.ledger.tree",
    "orders.ledger.leaf",
    "orders.ledger.accounts",
    "stream_events.split",
    "stream_events.money",
)
# What is imported where it must not be, and the import that has to be named.
PLANTED = {
    "stream_events/planted.py": ("import inventory.tables", "inventory.tables"),
    "inventory/planted.py": ("from orders import tables", "orders.tables"),
    "orders/planted.py": ("import realtime.bus", "realtime.bus"),
    "realtime/planted.py": ("def late():\n    import server.cli", "server.cli"),
    "loadtests/planted.py": ("import stream_events.ids", "stream_events.ids"),
    "realtime/hub.py": ("import realtime.tables", "realtime.tables"),
    "realtime/gateway.py": ("import inventory.gate", "inventory.gate"),
}
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
CODE = {".py", ".lua", ".js", ".mjs"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "core", "manager", "service"} | {
    "repository",
    "handler",
}
# Written in pieces, so that this file does not hold what it forbids.
OUTSIDE = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(?:work|root|tmp)/\w",
            r"(?<![\w.])/home/[a-z]\w*/",
            "pypi" + r"\.(?:org|python)",
            "python" + "hosted",
            "registry" + r"\.(?:npmjs|yarnpkg)",
            r"://\S+/" + r"simple\b",
        )
    )
)


def test_imports_go_down_only() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_each_planted_import_is_caught(tmp_path: Path) -> None:
    """All at once, because each look at the packages takes seconds: the report names every one."""
    for name in (*PACKAGES, "loadtests"):
        ignore = shutil.ignore_patterns("__pycache__", "static", "pages")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    for file, (line, _) in PLANTED.items():
        with (tmp_path / file).open("a", encoding="utf-8") as source:
            source.write(f"{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout
    for file, (_, chain) in PLANTED.items():
        module = file.removesuffix(".py").replace("/", ".")
        assert f"{module} -> {chain}" in done.stdout, done.stdout
    assert len(re.findall(r" BROKEN$", done.stdout, re.MULTILINE)) == 3, done.stdout


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_only_the_standard_library(module: str) -> None:
    assert impure_imports(module, path_of(module).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import math, sqlalchemy", ["sqlalchemy"]),
        ("from stream_events.money import Money", []),
        ("from stream_events import money, database", ["stream_events.database"]),
        ("from . import tables", ["orders.tables"]),
        ("def late():\n    from inventory.gate import Gate", ["inventory.gate"]),
    ],
)
def test_an_impure_import_is_caught(source: str, found: list[str]) -> None:
    assert impure_imports("orders.pricing", source) == found


def test_the_house_rules_hold() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in house_files()
        if path.suffix in CODE and not path.is_relative_to(GENERATED)
        for fault in faults_in(path.relative_to(ROOT), path.read_text("utf-8"))
    ]
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("orders/a.py", "x = 1", "no docstring"),
        ("orders/a.py", '"""Why."""\n' + "x = 1\n" * LINES_MAX, f"{LINES_MAX + 1} lines"),
        ("orders/a.lua", "-- x\n" * (LINES_MAX + 1), f"{LINES_MAX + 1} lines"),
        ("orders/a.py", '"""Why."""\ndef f():\n' + " x = 1\n" * 60, "function f has 61 lines"),
        ("orders/a.py", '"""Why."""\nasync def f(s):\n    await s.commit()', "commit"),
        (
            "orders/a.py",
            '"""Why."""\nasync def f(s):\n    await asyncio.wait_for(s, 1)',
            "wait_for",
        ),
        ("orders/stock_utils.py", '"""Why."""', "vague name"),
        ("orders/a.py", '"""Why."""\nclass OrderManager: ...', "vague name"),
        ("orders/a.py", '"""Why."""\nx = total_minor / 3', "true division of money"),
        ("orders/a.py", '"""Why."""\nx = float(line.total_minor)', "float of money"),
        ("orders/a.py", '"""Why."""\ndef f(fee_minor: float): ...', "float for money"),
        ("orders/a.py", '"""Why."""\nfee_minor: float | None = None', "float for money"),
    ],
)
def test_a_planted_breach_is_caught(path: str, source: str, fault: str) -> None:
    faults = list(faults_in(Path(path), source))
    assert len(faults) == 1
    assert fault in faults[0]


def test_no_file_names_a_registry_or_a_machine() -> None:
    named = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in house_files()
        if (match := OUTSIDE.search(path.read_text("utf-8", errors="ignore")))
    ]
    assert named == []


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "work/main",
        "url = https://example.org/" + "simple",
        "py" + "pi.org",
        "/" + "tmp/x",
    ],
)
def test_a_planted_address_is_caught(text: str) -> None:
    assert OUTSIDE.search(text)


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run import-linter on a tree, without the cache that would hide a planted file."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def path_of(module: str) -> Path:
    """Return the file a module of ours lives in."""
    return ROOT / f"{module.replace('.', '/')}.py"


def impure_imports(module: str, source: str) -> list[str]:
    """Return what a pure module imports besides the standard library and other pure modules."""
    wanted: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            whole = base in PURE or base.partition(".")[0] in sys.stdlib_module_names
            ours = base in {*PACKAGES, "orders.ledger"}
            wanted += [base] if whole or not ours else [f"{base}.{a.name}" for a in node.names]
    return [
        name
        for name in wanted
        if name not in PURE and name.partition(".")[0] not in sys.stdlib_module_names
    ]


def house_files() -> Iterator[Path]:
    """Yield every text file of the repository; hidden folders but .ci hold only what tools made."""
    made = {"__pycache__", "dist", "out", "build"}
    for folder, folders, files in os.walk(ROOT):
        # What is not gone into costs nothing: an environment has thirty thousand files.
        folders[:] = sorted(
            one for one in folders if one == ".ci" or not (one.startswith(".") or one in made)
        )
        for file in sorted(files):
            path = Path(folder, file)
            if path.is_file() and path.suffix not in {".png", ".jpg", ".woff2", ".ico", ".pyc"}:
                yield path


def faults_in(path: Path, source: str) -> Iterator[str]:
    """Yield each breach of the house rules in one source file, with its line."""
    lines = source.count("\n") + (not source.endswith("\n"))
    if lines > LINES_MAX:
        yield f"1 has {lines} lines"
    if VAGUE & set(path.stem.split("_")):
        yield f"1 vague name {path.stem}"
    if path.suffix != ".py":
        return
    tree = ast.parse(source)
    if source.strip() and not ast.get_docstring(tree):
        yield "1 has no docstring that says why it is there"
    for node in ast.walk(tree):
        for rule in (long_function, vague_class, *(_OURS if path.parts[0] in PACKAGES else ())):
            fault = rule(node)
            if fault:
                yield f"{getattr(node, 'lineno', 1)} {fault}"


def long_function(node: ast.AST) -> str | None:
    """A function that does not fit on one screen is not understood at one glance."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            return f"function {node.name} has {lines} lines"
    return None


def vague_class(node: ast.AST) -> str | None:
    """A name that fits everything gathers everything."""
    if isinstance(node, ast.ClassDef):
        words = {word.lower() for word in re.findall(r"[A-Z][a-z]+", node.name)}
        if VAGUE & words:
            return f"vague name {node.name}"
    return None


def session_commit(node: ast.AST) -> str | None:
    """A commit in the middle of a function once left half an order behind: `begin()` blocks only."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        bare = node.func.attr == "commit" and not node.args and not node.keywords
        return "commit() outside a begin() block" if bare else None
    return None


def forgetful_wait(node: ast.AST) -> str | None:
    """Python 3.11's `wait_for` forgets a cancellation that comes with what it waits for; `timeout` does not."""
    waits = isinstance(node, ast.Attribute) and node.attr == "wait_for"
    return "asyncio.wait_for" if waits else None


def float_money(node: ast.AST) -> str | None:
    """A float loses cents, and a ledger that loses cents adds up to nothing."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _is_money(node):
        return "true division of money"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        return "float of money" if any(_is_money(each) for each in node.args) else None
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
        typed = name.endswith("_minor") and re.search(r"\bfloat\b", ast.unparse(node.annotation))
        return "float for money" if typed else None
    return None


def _is_money(node: ast.AST) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id.endswith("_minor"))
        or (isinstance(part, ast.Attribute) and part.attr.endswith("_minor"))
        for part in ast.walk(node)
    )


_OURS: tuple[Callable[[ast.AST], str | None], ...] = (session_commit, forgetful_wait, float_money)
