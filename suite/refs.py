"""References: `package.module:Name` and `path/to/file.py:Name` name a class, a built-in's and a stranger's alike."""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any


def load(ref: str, sha256: str | None = None) -> Any:
    """Return what `ref` names.

    `sha256`, where given, is the digest the referenced file must still have: a file edited while a study runs is refused.
    Raises ValueError where the reference has no colon, the file changed, or the name is not there; ImportError where the
    module cannot be imported.
    """
    place, colon, name = ref.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"expected 'module:Name' or 'file.py:Name', got '{ref}'")
    module = _load_file(Path(place), sha256) if place.endswith(".py") else importlib.import_module(place)
    if not hasattr(module, name):
        known = sorted(n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__)
        raise ValueError(f"{place} has no '{name}'; it has: {', '.join(known) or 'no class'}")
    return getattr(module, name)


def file_sha256(ref: str) -> str | None:
    """Return the digest of the file that `ref` names, or None for a `module:Name` reference."""
    place = ref.rpartition(":")[0]
    return hashlib.sha256(Path(place).read_bytes()).hexdigest() if place.endswith(".py") else None


def ref_of(cls: type) -> str:
    """Return the reference that loads `cls` again in another process."""
    path = getattr(sys.modules.get(cls.__module__), "__hopscope_file__", None)
    return f"{path or cls.__module__}:{cls.__qualname__}"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that no `what` is called `name`, which name may have been meant, and which there are."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"no {what} is called '{name}'.{hint} Known: {', '.join(known) or 'none'}"


def _load_file(path: Path, sha256: str | None) -> ModuleType:
    path = path.resolve()
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"{path} changed since the study was expanded (sha256 was {sha256[:12]}, is {found[:12]})")
    name = f"hopscope_file_{found[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__hopscope_file__ = str(path)  # type: ignore[attr-defined]
    sys.modules[name] = module  # before execution: pydantic resolves annotations through it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
