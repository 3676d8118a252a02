"""Where `hdfs.path` points: which store a URI means, and what its paths are there."""

from __future__ import annotations

import re

from shipper.files.local import LocalStore
from shipper.files.store import Store

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)")


def scheme_of(address: str) -> str:
    """The scheme of a URI in lower case; "" when it has none."""
    match = _SCHEME.match(address)
    return match[1].lower() if match else ""


def address_problem(address: str) -> str | None:
    """Why nothing can be written to `address`, as a sentence; None when it can."""
    scheme = scheme_of(address)
    if not address.strip():
        return "hdfs.path is empty: name a directory, as in file:///var/log/archive/%Y-%m-%d"
    if scheme in ("", "file"):
        return None
    if scheme in ("hdfs", "viewfs", "webhdfs", "swebhdfs"):
        return f"hdfs.path = {address}: {scheme}:// is not in this build; file:///... works"
    return f"hdfs.path = {address}: {scheme}:// is not known; file:///... works"


def path_of(address: str) -> str:
    """The path in its store: `file:///a/%Y`, `file:/a/%Y` and `/a/%Y` are `/a/%Y`."""
    match = _SCHEME.match(address)
    if match is None:
        return address
    rest = address[match.end() :]
    return re.sub(r"^//[^/]*", "", rest) if rest.startswith("//") else rest


def store_of(address: str) -> Store:
    """The store that `address` is in; it must have no problem."""
    return LocalStore()
