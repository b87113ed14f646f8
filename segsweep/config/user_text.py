"""Texts that name a study file's objects in settings and records: `own:NAME`, or `own:NAME.v2` for the second version."""

import re

PREFIX = "own:"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]*"
USER_TEXT = re.compile(rf"{PREFIX}{NAME_PATTERN}(\.v[0-9]+)?")
