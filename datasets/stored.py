"""Published data on this machine: looked for under the data root, made ready once by PyG's own classes, kept in the user's cache.

The data root is the folder that the environment variable HOPSCOPE_DATA_ROOT names, `data` where it is not set. PyG writes
beside the raw files that it reads, so it is given a copy of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from suite.task import DataUnavailable

DATA_ROOT = "HOPSCOPE_DATA_ROOT"


def data_root() -> Path:
    """Return the folder under which data are looked for."""
    return Path(os.environ.get(DATA_ROOT, "data"))


def cache_folder() -> Path:
    """Return where prepared data are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hopscope"


def stored(
    name: str,
    root: Path,
    places: Sequence[str],
    inside: str,
    process: Callable[[str], object],
    *,
    files: Sequence[str] = (),
    fetch: Callable[[Path], None] | None = None,
) -> str:
    """Return a folder of the cache from which PyG's class reads data set `name` without processing it again.

    Args:
        root: the data root.
        places: folders of raw files, relative to it; the first that is there is taken.
        inside: where below its root the class looks for raw files.
        process: makes the class process what lies under a root, given to it.
        files: what a folder must hold to count as there, besides anything.
        fetch: fills a folder with raw files where none are here; None: `process` fetches them.

    Raises DataUnavailable, naming all places, where nothing is found and nothing can be fetched, and, naming the one found,
    where what lies there cannot be processed.
    """
    found = [root / place for place in places]
    raw = next((place for place in found if place.is_dir() and all((place / file).is_file() for file in files)), None)
    folder = cache_folder() / f"{name}-{_digest(raw) if raw else 'fetched'}"
    if folder.exists():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / "made"  # it becomes `folder` when complete, so that no other worker meets a half-made one
        target = made / inside
        try:
            if raw:
                shutil.copytree(raw, target)
            elif fetch:
                target.mkdir(parents=True)
                fetch(target)
            with contextlib.redirect_stderr(io.StringIO()):  # PyG announces what it does
                process(str(made))
        except Exception as error:  # torn files may raise anything
            if raw:
                cause = f"{type(error).__name__}: {error}"
                raise DataUnavailable(f"{name}: {raw} is there, but cannot be processed ({cause})") from error
            if not isinstance(error, OSError | RuntimeError | ImportError):
                raise
            looked = " or ".join(places)
            raise DataUnavailable(
                f"{name}: no {looked} under '{root}', and it cannot be fetched ({error}); say --data-root DIR"
            ) from error
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # or else another worker was first
                raise
    return str(folder)


def _digest(raw: Path) -> str:
    """Return a digest of the raw files, so that another copy is another folder of the cache."""
    content = hashlib.sha256()
    for file in sorted(raw.rglob("*")):
        if file.is_file():
            content.update(f"{file.relative_to(raw)} {file.stat().st_size} ".encode())
            content.update(file.read_bytes())
    return content.hexdigest()[:12]
