"""The copy of published data beside the repository: real data that are not the project's to carry."""

from pathlib import Path

import pytest

COPY = Path(__file__).resolve().parents[2] / "shared" / "data"
NO_COPY = "no copy of the published data in ../shared/data, and no test fetches any"
needs_copy = pytest.mark.skipif(not COPY.is_dir(), reason=NO_COPY)
