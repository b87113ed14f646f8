"""Records: what every trial leaves behind, written by the driver alone, read back as tables."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segsweep.records.reader import load, sql
    from segsweep.records.study_records import Records

__all__ = ["Records", "load", "sql"]


def __getattr__(name: str) -> Any:
    """Load what reads records when it is asked for: pandas, which it needs, is not needed by all that imports this room."""
    if name in __all__:
        from segsweep.records import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'segsweep.records' has no attribute {name!r}")
