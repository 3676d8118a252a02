"""Programs that tests compare with or read with: those of this machine, else Debian's, unpacked into the tests' cache.

Nothing is installed and nobody needs to be root: packages are downloaded with package lists of our own, and unpacked.
A program from the cache is a small script that runs it with the libraries that were unpacked beside it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fetched import Trouble, folder, missing, run

#: program -> Debian's packages: the one that has it, and the libraries that a bare Debian lacks
PACKAGES = {
    "bzip2": ("bzip2", "libbz2-1.0"),
    "igzip": ("isal", "libisal2"),
    "lz4": ("lz4", "liblz4-1"),
    "lzop": ("lzop", "liblzo2-2"),
    "nc": ("netcat-openbsd", "libbsd0", "libmd0"),
    "rsyslogd": ("rsyslog", "libestr0", "libfastjson4", "liblognorm5"),
    "zstd": ("zstd", "liblz4-1", "liblzma5", "libstdc++6"),
}
_FOLDER = "debian-programs"
_SCRIPTS = "scripts"  # not bin, where a package may have a program of that name: a script would run itself
_ELSEWHERE = ":/usr/sbin:/sbin"  # not in everybody's PATH
_FILE_NAMES = {"nc": "nc.openbsd"}  # where Debian links the usual name when it installs the package
_ARGUMENTS = {"rsyslogd": '-M "$modules" '}  # else it looks for its modules where its package installs them


def find_program(name: str) -> str:
    """The path of a program, which is fetched when this machine has none. Skips the test where it can't be had."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + _ELSEWHERE)
    if found is None:
        script = folder(_FOLDER, _fetch) / _SCRIPTS / name
        if not script.exists():
            missing(f"needs {name}: apt-get install {PACKAGES[name][0]}")
        found = str(script)
    return found


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of a program by its name: `program("lz4")`."""
    return find_program


@pytest.fixture(scope="session")
def rivals_path() -> str:
    """A search path on which all programs are that benchmarks compare with."""
    found = {str(Path(find_program(name)).parent) for name in ("lz4", "igzip", "rsyslogd")}
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *sorted(found)])


@pytest.fixture
def liblzo2() -> None:
    """The library liblzo2 is there for `shipper.files._lzo`."""
    from shipper.files import _lzo

    if _lzo.compressor() is None:
        library = next(folder(_FOLDER, _fetch).rglob("liblzo2.so.2"), None)
        if library is None:
            missing("needs liblzo2: apt-get install liblzo2-2")
        ctypes.CDLL(str(library))  # whoever opens a library by the name of one that is open already gets that one
        _lzo.compressor.cache_clear()
    assert _lzo.compressor() is not None


def _fetch(place: Path) -> None:
    """Lays out below `place` what is in the packages, and a script for each program that is really there."""
    packages = sorted({package for several in PACKAGES.values() for package in several})
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Trouble(f"needs the packages {', '.join(packages)}, or apt-get and dpkg to fetch them")
    lists, archives = place / "lists", place / "cache"
    for directory in (lists / "partial", archives / "archives" / "partial"):
        directory.mkdir(parents=True)
    own = {"Dir::State::lists": lists, "Dir::Cache": archives, "APT::Sandbox::User": "root"}
    settings = tuple(word for key, value in own.items() for word in ("-o", f"{key}={value}"))
    run("apt-get", *settings, "-qq", "update")
    for package in packages:
        try:
            run("apt-get", *settings, "-qq", "download", package, cwd=place)
        except Trouble:  # its name is another one in this release: the test that needs it says so
            continue
    for archive in sorted(place.glob("*.deb")):
        run("dpkg", "-x", archive, place)
        archive.unlink()
    shutil.rmtree(lists)
    shutil.rmtree(archives)
    (place / _SCRIPTS).mkdir()
    for name in PACKAGES:
        _write_script(place, name)


def _write_script(place: Path, name: str) -> None:
    wanted = _FILE_NAMES.get(name, name)
    binary = next((path for path in place.rglob(wanted) if path.parent.name in ("bin", "sbin")), None)
    if binary is None:
        return
    libraries = ":".join(sorted({str(path.parent) for path in place.rglob("lib*.so*")}))
    modules = next((path.parent for path in place.rglob("imtcp.so")), "")
    script = place / _SCRIPTS / name
    script.write_text(
        f"#!/bin/sh\nmodules='{modules}'\n"
        f"LD_LIBRARY_PATH='{libraries}' exec '{binary}' {_ARGUMENTS.get(name, '')}\"$@\"\n"
    )
    script.chmod(0o755)
