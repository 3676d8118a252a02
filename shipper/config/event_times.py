"""Event times in a file: a sink that asks events for the time which nothing gives them, the mistake that is made most.

Such a file starts, and every event is set aside. Said is only what is sure: nothing of the source, nor of its
interceptors, mentions a timestamp, and all of them are known here to set no header of that name by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shipper.config import topology
from shipper.config.plan import SourcePlan
from shipper.config.problem import Problem

_SOURCES = frozenset({"exec", "netcat", "seq", "spooldir", "taildir"})
_INTERCEPTORS = frozenset({"host", "static"})


def problems(
    agent: topology.Agent, sources: Sequence[SourcePlan], timed: Mapping[str, tuple[str, str]]
) -> Iterator[Problem]:
    """What is wrong between these sources and the sinks behind them.

    Args:
        timed: sink -> its key that asks for the header `timestamp`, and what to do without one.
    """
    for name, (key, remedy) in timed.items():
        component, channel = agent.sinks[name]
        bare = [source.name for source in sources if channel in source.channels and _is_bare(agent, source)]
        if bare:
            yield (component.settings.get(key) or component.first).problem(
                "warning", f"{component.prefix}{key} needs the time of each event, and those of source "
                f"{', '.join(bare)} have no header timestamp, so all of them would be set aside: {remedy}."
            )  # fmt: skip


def _is_bare(agent: topology.Agent, source: SourcePlan) -> bool:
    known = source.type in _SOURCES and all(one.type in _INTERCEPTORS for one in source.interceptors)
    settings = agent.sources[source.name][0].settings
    said = (f"{key} {setting.value}" for key, setting in settings.items())
    return known and not any("timestamp" in text.lower() for text in said)
