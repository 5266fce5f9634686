"""References: `package.module:Name` and `path/to/file.py:Name` name a class, a built-in's and a stranger's alike."""

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

BUILT_IN = ("suite", "datasets")  # packages whose classes have a version


def load(ref: str, sha256: str | None = None) -> Any:
    """Return what `ref` names.

    `sha256`, where given, is the digest the referenced file must still have: a file edited while a study runs is refused.
    Raises ValueError where the reference has no colon, the file changed, or the name is not there; ImportError where the
    module cannot be imported.
    """
    place, colon, name = ref.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"expected 'module:Name' or 'file.py:Name', got '{ref}'")
    module = _load_file(Path(place), sha256) if place.endswith(".py") else _load_module(place, sha256)
    if not hasattr(module, name):
        known = sorted(n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__)
        raise ValueError(f"{place} has no '{name}'; it has: {', '.join(known) or 'no class'}")
    return getattr(module, name)


def file_sha256(ref: str) -> str | None:
    """Return the digest of the file that `ref` names or its module lies in; None for built-ins, which count by their version.

    Raises ImportError where there is no such module.
    """
    place = ref.rpartition(":")[0]
    if place.endswith(".py"):
        return hashlib.sha256(Path(place).read_bytes()).hexdigest()
    return None if _built_in(place) else _source_sha256(_load_module(place, None))


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


def said(found: Any, prefix: str, known: set[str]) -> str:
    """Return one of pydantic's errors in our words, at its place behind `prefix`; `known` are the names that there are."""
    path = prefix
    for part in found["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if found["type"] == "extra_forbidden":
        return f"{path}: {unknown('setting', str(found['loc'][-1]), known)}"
    if found["type"] in ("missing", "too_short"):
        return f"{path}: is missing" if found["type"] == "missing" else f"{path}: must have at least one entry"
    message = found["msg"].removeprefix("Value error, ")
    if found["type"] == "value_error":  # from a validator of ours: names its field, where it knows it
        return f"{path}.{message}" if path and re.match(r"\w+: ", message) else f"{path}: {message}" if path else message
    given = repr(found["input"])
    return f"{path}: {message.replace('Input should', 'must')}, got {given if len(given) <= 60 else given[:57] + '...'}"


def _load_module(name: str, sha256: str | None) -> ModuleType:
    """Import a module; a stranger's is looked for in the working folder too."""
    if not _built_in(name) and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last: it hides nothing
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        advice = "start from the folder that holds it, install it, or name the file: path/to/file.py:Name"
        raise ModuleNotFoundError(f"no module '{error.name}', installed or in {Path.cwd()}: {advice}", name=error.name) from None
    if sha256 is not None:
        _check_unchanged(name, _source_sha256(module), sha256)
    return module


def _built_in(module: str) -> bool:
    return module.partition(".")[0] in BUILT_IN


def _source_sha256(module: ModuleType) -> str | None:
    """Return the digest of a module's source; None where it has none, as one that is compiled."""
    path = getattr(module, "__file__", None)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and path.endswith(".py") else None


def _check_unchanged(place: object, found: str | None, sha256: str) -> None:
    if found != sha256:
        raise ValueError(f"{place} changed since the study was expanded (sha256 was {sha256[:12]}, is {str(found)[:12]})")


def _load_file(path: Path, sha256: str | None) -> ModuleType:
    path = path.resolve()
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None:
        _check_unchanged(path, found, sha256)
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


def reason_of(error: Exception) -> str:
    """Return an exception in one line; one from someone's file with the line it came from."""
    if isinstance(error, FileNotFoundError):
        return f"no such file: {error.filename}"
    if isinstance(error, ValidationError):
        return "; ".join(said(found, "", set()) for found in error.errors())
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.endswith(".py") and not _is_ours(frame.filename)]
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else text


def _is_ours(filename: str) -> bool:
    root, path = Path(__file__).parents[1], Path(filename)
    own = path == root / "run_all.py" or any(root / package in path.parents for package in BUILT_IN)
    return own or "site-packages" in filename or "/lib/python" in filename
