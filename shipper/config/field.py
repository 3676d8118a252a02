"""An option: declared once, read by the parser, the errors, the templates and the reference pages.

A component declares its options as a frozen, keyword-only dataclass whose fields are made by `option`::

    @dataclass(frozen=True, kw_only=True)
    class FileRollOptions(Options):
        directory: str = option("sink.directory", text, help="Where the files go; must exist.")
        roll_interval_s: float = option("sink.rollInterval", seconds, 30.0, help="A new file this often; 0 = never.")

`read_options` turns raw properties (`{"sink.directory": "/var/spool"}`) into an instance plus everything that is
wrong with them, all at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from shipper.likely import likely
from shipper.units import parse_integer, parse_seconds, parse_size


@dataclass(frozen=True)
class Kind:
    """What a value may look like.

    Attributes:
        name: for people, as in "size in bytes".
        parse: text to value; raises ValueError with a sentence that says what would be right.
        doubt: a warning about a value that parses but is probably not meant, or None.
        many: True when the option's key ends in `*` and the value is a mapping of what stands for it.
    """

    name: str
    parse: Callable[[str], Any]
    doubt: Callable[[str], str | None] = lambda _: None
    many: bool = False


def _flag(value: str) -> bool:
    return value.strip().lower() == "true"


def _flag_doubt(value: str) -> str | None:
    if value.strip().lower() in ("true", "false"):
        return None
    return "anything but 'true' means false here, as in Flume; write true or false"


def _decimal(value: str) -> float:
    try:
        return float(value.strip())
    except ValueError:
        raise ValueError("a number is needed") from None


text = Kind("text", str)
path = Kind("path", str)
flag = Kind("true or false", _flag, _flag_doubt)
integer = Kind("whole number", parse_integer)
decimal = Kind("number", _decimal)
size = Kind("size in bytes", parse_size)
words = Kind("names separated by blanks", lambda value: tuple(value.split()))
commas = Kind("names separated by commas", lambda value: tuple(v.strip() for v in value.split(",") if v.strip()))
seconds = Kind("seconds", lambda value: parse_seconds(value, 1.0))
milliseconds = Kind(
    "milliseconds", lambda value: parse_seconds(value, 0.001)
)  #: the value in the dataclass is in seconds


def choice(*names: str) -> Kind:
    """One of `names`, in any case; the value is the spelling given here."""

    def parse(value: str) -> str:
        for name in names:
            if name.lower() == value.strip().lower():
                return name
        near = likely(value, names, 1)
        raise ValueError(f"must be one of {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else ""))

    return Kind(" | ".join(names), parse)


def at_least(kind: Kind, least: float, most: float | None = None) -> Kind:
    """`kind`, with bounds (in the unit of the parsed value)."""

    def parse(value: str) -> Any:
        number = kind.parse(value)
        if number < least or (most is not None and number > most):
            raise ValueError(f"must be at least {least}" + (f" and at most {most}" if most is not None else ""))
        return number

    return dataclasses.replace(kind, parse=parse)


def mapping(kind: Kind = text) -> Kind:
    """All keys below a prefix: `option("headers.*", mapping())` gives `{"g1.host": "web"}`."""
    return dataclasses.replace(kind, name=f"{kind.name}, one for each name", many=True)


class _Required:
    def __repr__(self) -> str:
        return "(required)"


REQUIRED: Any = _Required()


@dataclass(frozen=True)
class Declaration:
    """One option as its component declared it."""

    key: str
    kind: Kind
    default: Any
    help: str
    aliases: tuple[str, ...] = ()
    ours: bool = False
    refused: str | None = None


def option(
    key: str,
    kind: Kind,
    default: Any = REQUIRED,
    *,
    help: str,
    aliases: tuple[str, ...] = (),
    ours: bool = False,
    refused: str | None = None,
) -> Any:
    """Declares one option of a component.

    Args:
        key: as a person writes it after the component's name; ends in `*` for a mapping.
        kind: what the value may look like.
        default: the parsed value when the key is absent; leave out when the key is required.
        help: one sentence, with the unit.
        aliases: other spellings that mean the same (deprecated names, the guide's mistakes).
        ours: True for keys that Flume does not have.
        refused: why a key that Flume has can't be honoured; setting it is then an error with this reason.
    """
    declaration = Declaration(key, kind, default, help, aliases, ours, refused)
    if default is REQUIRED:
        return dataclasses.field(metadata={"option": declaration})
    if isinstance(default, (dict, list, set)):
        return dataclasses.field(default_factory=lambda: default, metadata={"option": declaration})
    return dataclasses.field(default=default, metadata={"option": declaration})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of every component's options."""

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong between options that are each right by themselves: (key, sentence) pairs."""
        return []

    def doubts(self) -> list[tuple[str, str]]:
        """What a person probably does not want, though it runs: (key, sentence) pairs."""
        return []


O = TypeVar("O", bound=Options)


def declarations(options: type[Options]) -> dict[str, Declaration]:
    """The options of a component by the name of their dataclass field."""
    found = {field.name: field.metadata.get("option") for field in dataclasses.fields(options)}
    return {name: declared for name, declared in found.items() if declared is not None}


@dataclass(frozen=True)
class Finding:
    """One thing to tell a person about a key: `severity` is "error" or "warning"."""

    severity: str
    key: str
    value: str
    message: str


def read_options(options: type[O], properties: Mapping[str, str]) -> tuple[O | None, list[Finding]]:
    """Options from raw properties, with all that is wrong in them.

    Args:
        options: the component's dataclass.
        properties: keys without the component's prefix; keys of the topology (`type`, `channel`...) already removed.

    Returns:
        The instance, or None when a finding is an error; and the findings in the order of the declarations.
        Keys that nobody declared are not judged here: see `unknown_keys`.
    """
    findings: list[Finding] = []
    values: dict[str, Any] = {}
    for name, declared in declarations(options).items():
        if declared.kind.many:
            prefix = declared.key[:-1]
            given = {key[len(prefix) :]: key for key in properties if key.startswith(prefix) and len(key) > len(prefix)}
            parsed = {rest: _parse(declared, key, properties[key], findings) for rest, key in given.items()}
            if given or declared.default is REQUIRED:
                values[name] = parsed
            if not given and declared.default is REQUIRED:
                findings.append(Finding("error", declared.key, "", f"{declared.key} is required: {declared.help}"))
            continue
        key = next((k for k in (declared.key, *declared.aliases) if k in properties), None)
        if key is not None:
            values[name] = _parse(declared, key, properties[key], findings)
        elif declared.default is REQUIRED:
            findings.append(Finding("error", declared.key, "", f"{declared.key} is required: {declared.help}"))
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    made = options(**values)
    findings += [Finding("error", key, properties.get(key, ""), message) for key, message in made.problems()]
    findings += [Finding("warning", key, properties.get(key, ""), message) for key, message in made.doubts()]
    return (None if any(f.severity == "error" for f in findings) else made), findings


def _parse(declared: Declaration, key: str, value: str, findings: list[Finding]) -> Any:
    if declared.refused is not None:
        findings.append(Finding("error", key, value, f"{key} can't be honoured here: {declared.refused}"))
        return None
    try:
        parsed = declared.kind.parse(value)
    except ValueError as problem:
        findings.append(Finding("error", key, value, f"{key} = {value}: {problem}"))
        return None
    if (doubt := declared.kind.doubt(value)) is not None:
        findings.append(Finding("warning", key, value, f"{key} = {value}: {doubt}"))
    return parsed


def unknown_keys(options: type[Options], keys: list[str], also: tuple[str, ...] = ()) -> dict[str, str | None]:
    """The keys that no declaration covers, each with the nearest spelling or None.

    Args:
        also: keys (or prefixes ending in `.`) that belong to the topology and are known elsewhere.
    """
    declared = declarations(options).values()
    known = [k for d in declared for k in (d.key, *d.aliases) if not d.kind.many] + [k for k in also if k[-1] != "."]
    prefixes = tuple(d.key[:-1] for d in declared if d.kind.many) + tuple(k for k in also if k[-1] == ".")
    unknown = [k for k in keys if k not in known and not k.startswith(prefixes or ("\0",))]
    lower = {k.lower(): k for k in known}
    return {k: lower.get(k.lower()) or next(iter(likely(k, known, 1, 0.7)), None) for k in unknown}
