"""Who watches a runner in tests. In a file of its own: drivers in processes of their own import it, and nothing slow with it."""

from __future__ import annotations

from typing import Any

from suite.worker import Job, Piece


class Witness:
    """Keeps what the runner tells, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def started(self, job: Job) -> None:
        self.told.append(("started", job))

    def stepped(self, job: Job, step: int, max_steps: int) -> None:
        self.told.append(("stepped", (step, max_steps)))

    def made(self, job: Job, piece: Piece) -> None:
        self.told.append(("made", piece))

    def failed(self, job: Job, piece: Piece, failure: dict[str, Any]) -> None:
        self.told.append(("failed", (piece.key, failure["stage"], failure["status"])))

    def ended(self, job: Job) -> None:
        self.told.append(("ended", job))

    def tick(self, notice: str) -> None:
        if notice and ("notice", notice) not in self.told:
            self.told.append(("notice", notice))

    def all(self, what: str) -> list[Any]:
        return [told for kind, told in self.told if kind == what]
