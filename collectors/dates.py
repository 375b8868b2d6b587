"""Dates as exports write them."""

import re
from datetime import UTC, datetime

_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
# "Wed Jan 14 10:00:00 +0000 2026". Not strptime: its names of months follow the language of the process.
_OF_X = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d{2}:\d{2}:\d{2}) ([+-]\d{4}) (\d{4})", re.ASCII)
_UNIX = re.compile(r"\d{9,10}(\.\d{1,9})?|\d{12,13}", re.ASCII)
_LONGEST = 40  # characters


def parse_date(text: str) -> datetime | None:
    """The date in UTC, None for one that cannot be read: that is never a reason to lose a row.

    Read are "2026-01-14 10:00:00" with or without " UTC", the same with a T, Unix seconds or milliseconds, and "Wed Jan
    14 10:00:00 +0000 2026". A date without a zone is UTC.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    try:
        if _UNIX.fullmatch(text):
            return datetime.fromtimestamp(float(text) / (1000 if len(text.partition(".")[0]) > 10 else 1), UTC)
        if found := _OF_X.fullmatch(text):
            month, day, time, zone, year = found.groups()
            text = f"{year}-{_MONTHS.index(month) // 3 + 1:02}-{int(day):02}T{time}{zone}"
        at = datetime.fromisoformat(re.sub(r" ?UTC$", "+00:00", text))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
