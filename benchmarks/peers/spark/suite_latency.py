"""The query of state, over rows that go on arriving."""

from suite_state import query  # noqa: F401
