"""Times of records: seconds since 1970 in the files and in W&B, datetimes in UTC in the tables."""

import numpy as np
import pandas as pd

TIMES = ("started_at", "ended_at")  # columns of every table of tasks
IN_UTC = "datetime64[us, UTC]"
MICROSECONDS = 1_000_000
LATEST = 9e9  # seconds; beyond the year 2255, a clock was wrong


def with_datetimes(data: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose times, in seconds since 1970, are datetimes in UTC with a precision of a microsecond.

    Missing and absurd times become NaT. A table without times is returned as it is.
    """
    names = [name for name in TIMES if name in data and pd.api.types.is_float_dtype(data[name])]
    return data.assign(**{name: _datetimes(data[name]) for name in names}) if names else data


def without_zone(data: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose datetimes in UTC have no time zone, as SQL compares them."""
    zoned = [name for name, kind in data.dtypes.items() if isinstance(kind, pd.DatetimeTZDtype)]
    return data.assign(**{str(name): data[name].dt.tz_convert(None) for name in zoned}) if zoned else data


def in_utc(data: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose datetimes without a time zone are in UTC: the inverse of `without_zone`."""
    plain = [name for name, kind in data.dtypes.items() if isinstance(kind, np.dtype) and kind.kind == "M"]
    return data.assign(**{str(name): data[name].dt.tz_localize("UTC") for name in plain}) if plain else data


def seconds_of(time: "pd.Timestamp | None") -> float | None:
    """Return a datetime as seconds since 1970; None if it is missing."""
    return None if time is None or pd.isna(time) else time.timestamp()


def _datetimes(seconds: "pd.Series[float]") -> pd.Series:
    values = seconds.to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.abs(values) < LATEST  # False where it is missing
    times = (np.where(known, values, 0.0) * MICROSECONDS).round().astype(np.int64).astype("datetime64[us]")
    times[~known] = np.datetime64("NaT")
    return pd.Series(times, index=seconds.index).dt.tz_localize("UTC")
