"""Records: what every trial leaves behind, written by the driver alone, read back as tables."""

from segsweep.records.query import sql
from segsweep.records.reader import Records, load

__all__ = ["Records", "load", "sql"]
