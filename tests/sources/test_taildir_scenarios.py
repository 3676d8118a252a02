"""The recorded scenarios of Flume's TAILDIR: what it did, or what is wanted where it lost or repeated lines."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from shipper.sources._tail.flume_positions import FlumePosition, parse, render
from tests.vectors import vectors


@pytest.fixture(scope="session")
def rows() -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in vectors("taildir_scenarios")}


def test_every_recorded_scenario_has_a_test(rows):
    assert set(rows) == {name.removeprefix("test_recorded_") for name in globals() if name.startswith("test_recorded_")}


def test_recorded_rewrite_longer(world, rows):
    world.write("app.log", "a1\n")
    source = world.start()
    first = world.read(source)
    world.write("app.log", "n1\nn2\nn3\n")
    assert [first, world.read(source)] == rows["rewrite_longer"]["want"]


def test_recorded_partial_line_idle(world, rows):
    world.write("app.log", "a1\npart")
    source = world.start({"idleTimeout": "3000"})
    first = world.read(source)
    while_idle = world.wait_and_read(source, 20)
    world.append("app.log", "ial\nnext\n")
    assert [first, while_idle, world.read(source)] == rows["partial_line_idle"]["want"]


def test_recorded_consume_order_by_mtime(world, rows):
    assert rows["consume_order_by_mtime"]["out"] == "oldest first"
    for age, name in enumerate(["app.log.c", "app.log.a", "app.log.d", "app.log.b"]):
        os.utime(world.write(name, f"{name}\n"), (1_000_000 - age, 1_000_000 - age))
    assert world.read(world.start()) == ["app.log.b", "app.log.d", "app.log.a", "app.log.c"]


def test_recorded_rename_while_down(world, rows):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    first = world.read(source)
    source.close()
    world.append("app.log", "a3\n")
    os.rename(world.logs / "app.log", world.logs / "app.log.1")
    assert [first, world.read(world.start())] == rows["rename_while_down"]["want"]


def test_recorded_skip_to_end(world, rows):
    world.write("app.log", "a1\na2\n")
    source = world.start({"skipToEnd": "true"})
    first = world.read(source)
    world.append("app.log", "a3\n")
    world.write("app.log.2", "z1\n")
    assert [first, sorted(world.read(source))] == rows["skip_to_end"]["events"]


def test_recorded_headers(world, rows):
    world.write("app.log", b"x\r\ny\n\nz\n")
    source = world.start({"fileHeader": "true", "headers.g.team": "blue", "byteOffsetHeader": "true"})
    (batch,) = world.batches(source)
    expected = json.loads(json.dumps(rows["headers"]["events_full"]).replace("<dir>", str(world.logs)))
    bodies = batch.body.to_pylist()
    assert [{"body": bodies[i].decode(), "headers": batch.headers_of(i)} for i in range(batch.rows)] == expected


def test_recorded_position_file_format(world, rows):
    path = world.write("app.log", "a1\na2\na3\n")
    source = world.start()
    world.read(source)
    source.close()
    example = rows["position_file_format"]["out"].split(" (")[0]
    assert render(parse(example.encode())) == example.encode()
    expected = example.replace("2244915", str(path.stat().st_ino)).replace("/d/app.log", str(path))
    assert world.position_file.read_text() == expected


def test_recorded_regex_file_names(world, rows):
    row = rows["regex_file_names"]
    for name, content in row["files"].items():
        world.write(name, content)
    properties = {key: value.replace("<dir>", str(world.logs)) for key, value in row["config"].items()}
    assert sorted(world.read(world.start(properties))) == row["events_set"]


def test_recorded_multi_group_headers(world, rows):
    row = rows["multi_group_headers"]
    for name in row["out"]:
        world.write(name, f"{name}\n")
    properties = {key: value.replace("<dir>", str(world.logs)) for key, value in row["config"].items()}
    source = world.start(properties)
    seen = {batch.body[0].as_py().decode(): batch.headers_of(0) for batch in world.batches(source)}
    assert seen == row["out"]


def test_a_position_file_of_flume_is_written_again_byte_for_byte(reference):
    content = (reference / "flume-files" / "taildir_position.json").read_bytes()
    assert render(parse(content)) == content


def test_names_in_the_position_file_are_escaped_as_gson_does():
    written = render([FlumePosition(1, 2, "/d/a=b&<c>'d\"\\\té\u2028")])
    assert (
        written == b'[{"inode":1,"pos":2,"file":"/d/a\\u003db\\u0026\\u003cc\\u003e\\u0027d\\"\\\\\\t\xc3\xa9\\u2028"}]'
    )
    assert parse(written) == [FlumePosition(1, 2, "/d/a=b&<c>'d\"\\\té\u2028")]


@pytest.mark.parametrize("numbers", ['"inode":1,"pos":-5', '"inode":1,"pos":1e999', '"inode":1e999,"pos":5',
                                     '"inode":1,"pos":9223372036854775808'])  # fmt: skip
def test_a_place_that_no_file_has_makes_it_no_position_file(numbers):
    with pytest.raises(ValueError, match="of /d/a are those of no file; write pos as bytes, from 0 to"):
        parse(f'[{{{numbers},"file":"/d/a"}}]'.encode())


def test_lists_in_each_other_are_no_position_file():
    with pytest.raises(ValueError, match="a list of"):
        parse(b"[" * 100_000)
