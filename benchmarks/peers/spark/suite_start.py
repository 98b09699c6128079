"""The query of copy, whose start is measured."""

from suite_copy import query  # noqa: F401
