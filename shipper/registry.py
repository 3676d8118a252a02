"""Type names to classes: the file name is the registration.

`type = file_roll` is the class that `sinks/file_roll.py` defines; a Flume class name is found through the `aliases`
of the classes. Only what is asked for by its file name is imported; a name that is no file imports its family.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any

from shipper.likely import likely

#: family -> (package, contract module, contract class)
FAMILIES = {
    "source": ("shipper.sources", "source", "Source"),
    "interceptor": ("shipper.interceptors", "interceptor", "Interceptor"),
    "selector": ("shipper.selectors", "selector", "Selector"),
    "channel": ("shipper.channels", "channel", "Channel"),
    "processor": ("shipper.processors", "processor", "Processor"),
    "serializer": ("shipper.serializers", "serializer", "Serializer"),
    "sink": ("shipper.sinks", "sink", "Sink"),
    "deserializer": ("shipper.sources.deserializers", "deserializer", "Deserializer"),
}


def find(family: str, type_name: str) -> type[Any] | None:
    """The class for a `type` value (alias or Flume class name, in any case), or None when nobody has that name."""
    wanted = type_name.strip().lower()
    if wanted in modules(family):
        return _component(family, wanted)
    for name in modules(family):
        found = _component(family, name)
        if found is not None and wanted in (alias.lower() for alias in found.aliases):
            return found
    return None


def everything(family: str) -> dict[str, type[Any]]:
    """All components of a family by file name, in alphabetical order."""
    found = {name: _component(family, name) for name in modules(family)}
    return {name: component for name, component in found.items() if component is not None}


def nearest(family: str, type_name: str) -> str | None:
    """The type name that a person may have meant."""
    return next(iter(likely(type_name.lower(), modules(family), 1, 0.6)), None)


@functools.cache
def modules(family: str) -> tuple[str, ...]:
    """Names of the files (or folders) of a family, without contract and helpers."""
    package_name, contract, _ = FAMILIES[family]
    try:
        package = importlib.import_module(package_name)
    except ModuleNotFoundError:
        return ()
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    return tuple(n for n in names if not n.startswith("_") and n not in (contract, "deserializers"))


@functools.cache
def _component(family: str, name: str) -> type[Any] | None:
    package_name, contract, base_name = FAMILIES[family]
    base = getattr(importlib.import_module(f"{package_name}.{contract}"), base_name)
    module = importlib.import_module(f"{package_name}.{name}")
    if hasattr(module, "__path__"):  # a folder: its class lives in the file that is named like the contract
        module = importlib.import_module(f"{package_name}.{name}.{contract}")
    for value in vars(module).values():
        declared_here = isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        if declared_here and not getattr(value, "__abstractmethods__", None):
            found: type[Any] = value
            return found
    return None
