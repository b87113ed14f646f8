"""Records: the rows that every task writes for analysis. Only the driver writes them; `load` returns them as tables."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segsweep.records.reader import load, sql
    from segsweep.records.study_records import Records

__all__ = ["Records", "load", "sql"]


def __getattr__(name: str) -> Any:
    """Import `load`, `sql` and `Records` on first use: they need pandas, which most importers of this package do not."""
    if name in __all__:
        from segsweep.records import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'segsweep.records' has no attribute {name!r}")
