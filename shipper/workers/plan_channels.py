"""The channels of a plan: made of what the file says, each in a place of its own, with the memory that there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shipper import registry
from shipper.channels.channel import Channel
from shipper.channels.memory.channel import RING_BYTES_DEFAULT, RING_BYTES_LEAST
from shipper.config.field import read_options
from shipper.config.plan import ChannelPlan, Plan
from shipper.errors import ConfigurationError
from shipper.instance.machine import cgroup_limit_bytes, free_memory_bytes

#: All channels of an agent together have at most so many bytes of rings, unless the file asks for more.
AGENT_RING_BYTES = 256 << 20


def channels_of(plan: Plan) -> dict[str, Channel[Any]]:
    """The channels by name.

    Raises:
        ConfigurationError: one can't be made as the file says, or two would lie in the same place.
    """
    channels = {found.name: _channel(found) for found in plan.channels}
    _alone(channels)
    return channels


def properties_of(channel: ChannelPlan) -> dict[str, str]:
    """What the channel's options are read from."""
    return {**channel.properties, "strictBatch": "true"} if channel.strict_batch else dict(channel.properties)


def with_places(plan: Plan, state_dir: Path) -> Plan:
    """The plan, with a place for the log of each channel that spills and names none."""
    channels = tuple(
        replace(found, properties={"spill.directory": str(state_dir / "spilled" / found.name), **found.properties})
        if found.properties.get("onFull", "").strip().lower() == "spill" else found
        for found in plan.channels
    )  # fmt: skip
    return replace(plan, channels=channels)


def ring_bytes(run_dir: Path, new: int) -> int:
    """Bytes of the rings of a channel whose file does not say: bounded by what the machine has to give."""
    limit = cgroup_limit_bytes()
    bounds = [RING_BYTES_DEFAULT, AGENT_RING_BYTES // max(new, 1), free_memory_bytes(run_dir) // 2 // max(new, 1)]
    if limit is not None:
        bounds.append(limit // 8 // max(new, 1))
    return max(min(bounds), RING_BYTES_LEAST)


def _channel(found: ChannelPlan) -> Channel[Any]:
    kind = registry.find("channel", found.type)
    if kind is None:
        raise ConfigurationError(f"channel {found.name} has type {found.type}, which this build does not have")
    options, findings = read_options(kind.Options, properties_of(found))
    if options is None:
        raise ConfigurationError("; ".join(finding.message for finding in findings))
    made: Channel[Any] = kind(found.name, options)
    return made


def _alone(channels: Mapping[str, Channel[Any]]) -> None:
    """No two channels may lie in the same directory."""
    owners: dict[Path, str] = {}
    for name, channel in channels.items():
        for place in channel.places(channel.options):
            if owners.setdefault(place, name) != name:
                raise ConfigurationError(
                    f"the channels {owners[place]} and {name} would both lie in {place}: give each of them a "
                    f"checkpointDir and dataDirs of its own"
                )
