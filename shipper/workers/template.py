"""The template: a short-lived process that imports what workers share, forks them, and exits.

Forking from a process that has the modules already saves each worker about 30 MB and 0.3 s. The template is started
by exec, so it has no thread, no client and no lock of anybody; it opens nothing before it forks.

It talks with the supervisor through its standard input and output, one JSON object a line::

    -> {"load": {files, agent, system, ...}, "stamp": "..."}
                                            <- {"plan": ... or null, "problems": [...], "counted": {...}}
    -> {"fork": [spec, ...], "supervisor": pid, "stamp": "..."}
                                            <- {"pids": [...]}, then the workers begin; or {"failed": "..."}: why
                                               there are none
    -> anything, of another build           <- {"stamp": "..."}: this build's, and nothing else happens
    -> end of file                          exits

A worker begins when the template has told the supervisor of all of them: a template that dies in the middle of its
forks leaves nobody behind that the supervisor does not know.

Python's rule that a process with threads should not fork does not bite here: the one thread that exists belongs to
Arrow's allocator, takes no part in what a worker does, and the tests fork on every supported Python.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from shipper import log, log_pipe, registry
from shipper.errors import ComponentFailed
from shipper.workers import heap, kin, process, tables_dealt
from shipper.workers.spec import WorkerSpec
from shipper.workers.stamp import STAMP


def main() -> int:
    """Serves the supervisor until its end of the pipe is closed."""
    kin.be_deaf()
    log_pipe.configure_worker_log(2, os.environ.get(kin.LOG_LEVEL, "INFO"))
    for line in sys.stdin.buffer:
        request = orjson.loads(line)
        answer: dict[str, Any]
        begin_fd = -1
        if request["stamp"] != STAMP:  # what else stands in the request may have another meaning here
            answer = {"stamp": STAMP}
        elif "load" in request:
            answer = _load(request["load"])
        else:
            specs = [WorkerSpec.from_json(spec) for spec in request["fork"]]
            try:
                _deal_tables(specs)
            except ComponentFailed as problem:
                answer = {"failed": str(problem)}
            else:
                wait_fd, begin_fd = os.pipe()
                answer = {"pids": _fork(specs, request["supervisor"], wait_fd, begin_fd)}
        try:
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the supervisor was interrupted meanwhile
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more at its end
            return 0
        if begin_fd >= 0:
            with contextlib.suppress(BrokenPipeError):  # all of them are dead already
                os.write(begin_fd, b"!" * len(answer["pids"]))
            os.close(begin_fd)
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


def _deal_tables(specs: Iterable[WorkerSpec]) -> None:
    """Of sources that have another number of workers than before. All of them are here then, and none runs."""
    for name, (count, run_dir) in {
        one.name: (one.count, one.common.run_dir) for spec in specs for one in spec.members if one.source is not None
    }.items():
        tables_dealt.deal(Path(run_dir), name, count)


def _fork(specs: list[WorkerSpec], supervisor: int, wait_fd: int, begin_fd: int) -> list[int]:
    for one in (member for spec in specs for member in spec.members):
        for family, found in [("source", one.source), ("selector", one.selector), ("processor", one.processor)]:
            if found is not None:
                registry.find(family, found.type)
        for family, several in [("interceptor", one.interceptors), ("sink", one.sinks)]:
            for found in several:
                registry.find(family, found.type)
    if any(spec.kind == "channel" for spec in specs):
        importlib.import_module("shipper.workers.channel_writer")
    heap.tidy()
    gc.freeze()  # a collection in a worker must not touch, and so copy, the pages that all of them share
    pids = []
    for spec in specs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os.close(begin_fd)
            _become(spec, supervisor, wait_fd)
        # Dying here: the pipe ends, and with it all that were forked so far.
        pids.append(pid)
    os.close(wait_fd)
    return pids


def _become(spec: WorkerSpec, supervisor: int, wait_fd: int) -> None:
    """The child's side of the fork; never returns."""
    code = kin.GAVE_UP
    try:
        if not os.read(wait_fd, 1):
            return
        os.close(wait_fd)
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
