"""Where a result comes from: versions, hardware, source. Without user names, home folders or host names."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]  # of the checkout, or of site-packages
PACKAGES = ("torch", "torch_geometric", "numpy", "scipy", "scikit-learn", "networkx", "einops", "pydantic", "safetensors")
TRAINING = ("engine", "models", "operators", "task.py", "hops.py", "rng.py")  # what of `suite` decides a cell's numbers


def environment() -> dict[str, Any]:
    """Return what results may depend on beside the cell: interpreter, packages, processor, state of the checkout."""
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "device": "cpu",
        "threads": 1,
        "checkout": _checkout(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


@cache
def _checkout() -> dict[str, str | None]:
    """Return the git commit, and a digest of what differs from it (None: nothing); both None outside a checkout."""
    top = _git("rev-parse", "--show-toplevel").decode().strip()
    if not top or Path(top).resolve() != ROOT:
        return {"commit": None, "changes_sha256": None}
    changes = _git("status", "--porcelain") + _git("diff", "HEAD")
    digest = hashlib.sha256(changes).hexdigest() if changes else None
    return {"commit": _git("rev-parse", "--verify", "--quiet", "HEAD").decode().strip() or None, "changes_sha256": digest}


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def fingerprint(*refs: str) -> str:
    """Return a digest of the sources behind `refs` (tasks, models) and of the training code.

    A built-in counts with all files of its folder, since it leans on its neighbours; a stranger's file counts alone.
    """
    digest = hashlib.sha256(_source(ROOT / "suite", TRAINING).encode())
    for ref in refs:
        digest.update(_component(ref.rpartition(":")[0]).encode())
    return digest.hexdigest()


@cache
def _component(place: str) -> str:
    if place.endswith(".py"):
        return hashlib.sha256(Path(place).read_bytes()).hexdigest()
    spec = importlib.util.find_spec(place)
    origin = Path(spec.origin) if spec and spec.origin else None
    if origin is None or not origin.exists():
        return place
    return _source(origin.parent, (".",) if "." in place else (origin.name,))


@cache
def _source(folder: Path, parts: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        place = folder / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def public(value: Any) -> Any:
    """Return the JSON value without the places of this machine: own files by name, paths from the checkout or `~`."""
    if isinstance(value, dict):
        cleaned = {key: public(item) for key, item in value.items()}
        if not cleaned.get("sha256"):
            return cleaned
        return {key: _file_name(item) for key, item in cleaned.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return _scrub(value) if isinstance(value, str) else value


def arguments(argv: Sequence[str]) -> list[str]:
    """Return a command line without the folders it names: `--out=/where/ever/results` becomes `--out=results`."""
    return [re.sub(r"(^|=)/(?:[^/]*/)*(?=[^/])", r"\1", argument) for argument in argv]


def _file_name(value: Any) -> Any:
    """Return the reference of a stranger's file, `/where/ever/file.py:Name`, without the folder."""
    return value.rpartition("/")[2] if isinstance(value, str) and ".py:" in value else value


def _scrub(text: str) -> str:
    """Shorten the folders that name this machine or its user; the longest first, as one may hold another."""
    places = {str(ROOT): ".", sys.prefix: "<python>", sys.base_prefix: "<python>", os.path.expanduser("~"): "~"}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > 4:  # "/" or "/usr" would match everywhere
            text = text.replace(place, places[place])
    return re.sub(r'File "/[^"]*/([^"/]+)"', r'File "\1"', text)  # what a traceback still says
