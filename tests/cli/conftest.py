"""The command line: tests here fill the block of an agent r1 -> c1 -> k1, the fixture `agent`."""

from metrics_agent import agent_block  # noqa: F401
