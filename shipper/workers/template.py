"""The template: a short-lived process that imports what workers share, forks them, and exits.

Forking from a process that has the modules already saves each worker about 30 MB and 0.3 s. The template is started
by exec, so it has no thread, no client and no lock of anybody; it opens nothing before it forks.

It talks with the supervisor through its standard input and output, one JSON object a line::

    -> {"load": {files, agent, system, ...}}       <- {"plan": ... or null, "problems": [...], "counted": {...}}
    -> {"fork": [spec, ...], "supervisor": pid}    <- {"pids": [...]}
    -> end of file                                 exits

Python's rule that a process with threads should not fork does not bite here: the one thread that exists belongs to
Arrow's allocator, takes no part in what a worker does, and the tests fork on every supported Python.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import orjson

from shipper import log, registry
from shipper.workers import kin, process
from shipper.workers.spec import WorkerSpec


def main() -> int:
    """Serves the supervisor until its end of the pipe is closed."""
    kin.be_deaf()
    log.configure_worker_log(2, os.environ.get(kin.LOG_LEVEL, "INFO"))
    for line in sys.stdin.buffer:
        request = orjson.loads(line)
        if "load" in request:
            answer = _load(request["load"])
        else:
            answer = {"pids": _fork([WorkerSpec.from_json(spec) for spec in request["fork"]], request["supervisor"])}
        try:
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the supervisor was interrupted meanwhile
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more at its end
            return 0
    return 0


def _load(request: Mapping[str, Any]) -> dict[str, Any]:
    from shipper.config.bind import load

    plan, problems = load(
        request["files"], request["agent"], request["system"], request["environment"], request["strict"]
    )
    counted: dict[str, list[str]] = {}
    if plan is not None:
        for source in plan.sources:
            counted[source.name] = _counted("source", source.type)
        for group in plan.groups:
            counted.update({sink.name: _counted("sink", sink.type) for sink in group.sinks})
    return {"plan": plan, "problems": problems, "counted": counted}


def _counted(family: str, type_name: str) -> list[str]:
    kind = registry.find(family, type_name)
    return list(kind.counted) if kind is not None else []


def _fork(specs: list[WorkerSpec], supervisor: int) -> list[int]:
    for spec in specs:
        for family, found in [("source", spec.source), ("selector", spec.selector), ("processor", spec.processor)]:
            if found is not None:
                registry.find(family, found.type)
        for family, several in [("interceptor", spec.interceptors), ("sink", spec.sinks)]:
            for found in several:
                registry.find(family, found.type)
    gc.collect()
    gc.freeze()  # a collection in a worker must not touch, and so copy, the pages that all of them share
    pids = []
    for spec in specs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _become(spec, supervisor)
        pids.append(pid)
    return pids


def _become(spec: WorkerSpec, supervisor: int) -> None:
    """The child's side of the fork; never returns."""
    code = kin.GAVE_UP
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)
        kin.belong_to(supervisor)
        code = process.main(spec)
    except BaseException as problem:
        log.defect(spec.label, problem)
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
