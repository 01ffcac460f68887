"""What a protocol is called beside its numbers."""

from __future__ import annotations


class Titled:
    """A protocol, or a part of one.

    Attributes:
        name: of the whole.
        partial: which part this is; None where it is whole.
    """

    name: str
    partial: str | None

    @property
    def title(self) -> str:
        """The name, and which part where it is not whole: for every place that prints a number."""
        return self.name if self.partial is None else f"{self.name} (partial: {self.partial})"
