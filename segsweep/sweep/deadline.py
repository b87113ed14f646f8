"""Deadlines of a run: a time of day, a date and time, or a time from now."""

import re
from datetime import datetime, timedelta

from segsweep.errors import UserError

FROM_NOW = re.compile(r"\+\s*(\d+(?:\.\d+)?)\s*(min|m|h|d)")
MINUTES = {"min": 1, "m": 1, "h": 60, "d": 24 * 60}
TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}")
ALLOWED = (
    "must be a time of day such as 07:00, a date and time such as 2027-01-31T07:00, or a time from now such as +8h, +90min or +2d"
)


def parse_deadline(given: str | datetime, now: datetime | None = None) -> datetime:
    """Return a deadline with its time zone; without one in the text, it is this machine's.

    A time of day is today's, or tomorrow's if it has passed. Raises `UserError` for other texts and for a moment in the past.
    """
    now = (now or datetime.now()).astimezone()
    try:
        moment = given if isinstance(given, datetime) else _moment(str(given).strip(), now)
    except (ValueError, OverflowError):
        raise UserError(f"--deadline {given}: {ALLOWED}") from None
    moment = moment.astimezone()
    if moment <= now:
        raise UserError(f"--deadline {given}: is in the past; {ALLOWED}")
    return moment


def _moment(text: str, now: datetime) -> datetime:
    if (found := FROM_NOW.fullmatch(text)) is not None:
        return now + timedelta(minutes=float(found[1]) * MINUTES[found[2]])
    if TIME_OF_DAY.fullmatch(text):
        time = datetime.strptime(text, "%H:%M").time()
        today = datetime.combine(now.date(), time).astimezone()
        return today if today > now else datetime.combine(now.date() + timedelta(days=1), time).astimezone()
    if "T" not in text and " " not in text:  # a date alone would mean its first minute
        raise ValueError(text)
    return datetime.fromisoformat(text)
