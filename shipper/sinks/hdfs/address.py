"""Where `hdfs.path` points: which file system a URI means, and what its paths are there.

::

    hdfs://host:port/a/%Y     a NameNode
    hdfs://name/a/%Y          a nameservice of hdfs-site.xml: several NameNodes, one of them active
    hdfs:///a, hdfs:/a        what fs.defaultFS of core-site.xml says
    viewfs://name/a           mount points of core-site.xml
    webhdfs://host:port/a     the web port of a NameNode, or a nameservice: all of it over HTTP
    file:///a                 this machine
    /a, a                     fs.defaultFS; without one, a directory of this machine, and a person is told
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
CLUSTERS = ("hdfs", "viewfs", "webhdfs")
NEEDS_CLIENT = "hdfs-native is not installed, which speaks to clusters: pip install 'shipper[hdfs]'"


@dataclass(frozen=True)
class Place:
    """A file system, and a path in it.

    Attributes:
        url: as the client wants it, "" for this machine.
        path: with escapes; relative ones only on this machine, and no `.` and `..` on a cluster.
    """

    url: str
    path: str


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
        if (authority := _authority(address)) and authority != "localhost":
            return f"hdfs.path = {address}: {authority} is a host there; a directory of this machine has three slashes"
        return None
    if scheme in CLUSTERS:
        if "%" in _authority(address):
            return f"hdfs.path = {address}: escapes are possible in the path, not in the name of a cluster"
        return None if scheme == "webhdfs" or client_is_there() else f"hdfs.path = {address}: {NEEDS_CLIENT}"
    if scheme == "swebhdfs":
        return f"hdfs.path = {address}: WebHDFS is spoken without TLS only; hdfs://host:8020/... can be encrypted"
    return f"hdfs.path = {address}: {scheme}:// is not known; hdfs://... and file:///... work"


def client_is_there() -> bool:
    """True when the client for clusters is installed."""
    return importlib.util.find_spec("hdfs_native") is not None


def path_of(address: str) -> str:
    """The path in its store: `file:///a/%Y`, `hdfs://nn/a/%Y` and `/a/%Y` are `/a/%Y`."""
    match = _SCHEME.match(address)
    if match is None:
        return address
    rest = address[match.end() :]
    return re.sub(r"^//[^/]*", "", rest) or "/" if rest.startswith("//") else rest


def place_of(address: str, default_url: str) -> Place:
    """Where an address without problems points.

    Args:
        default_url: `fs.defaultFS`, "" when no configuration says it.
    """
    scheme = scheme_of(address)
    if scheme in CLUSTERS:
        authority = _authority(address)
        return Place(f"{scheme}://{authority}" if authority else default_url, _resolved(path_of(address)))
    if not scheme and scheme_of(default_url.rstrip("/") + "/") in CLUSTERS:
        path = address if address.startswith("/") else f"/user/{{user}}/{address}"
        return Place(default_url.rstrip("/"), _resolved(path))
    return Place("", path_of(address))


def dots_problem(path: str) -> str | None:
    """Why it can't be said where the `..` in a path of a cluster lead; None when it can."""
    above: list[str] = []
    for part in path.split("/"):
        if part != "..":
            above += [part] if part not in ("", ".") else []
        elif not above:
            return "its .. leads to a folder above all others"
        elif "%" in (left := above.pop()):
            return f"{left} may become several folders, and what {left}/.. is can't be said: write it without .."
    return None


def _resolved(path: str) -> str:
    """The path without `.` and `..`, which Hadoop's own clients take out and a NameNode refuses."""
    if not {".", ".."} & set(path.split("/")):
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _authority(address: str) -> str:
    match = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/]*)", address)
    return match[1] if match else ""
