"""The flags in flume-env.sh: read, never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.environment import read_environment, system_properties


def read(tmp_path: Path, text: str, **environment: str) -> tuple[dict[str, str], list[str]]:
    (tmp_path / "flume-env.sh").write_text(text)
    return read_environment(tmp_path, environment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('export JAVA_OPTS="-Xms100m -Dx=y -Dz=1"', {"x": "y", "z": "1"}),
        ("JAVA_OPTS=-Dx=y", {"x": "y"}),
        ("export JAVA_OPTS='-Dx=y'", {"x": "y"}),
        ('# export JAVA_OPTS="-Dx=y"', {}),
        ('export JAVA_OPTS="-Dx=y"  # why', {"x": "y"}),
        ('export JAVA_OPTS="$JAVA_OPTS -Dx=y"', {"x": "y"}),
        ('JAVA_OPTS="-Da=1"\nJAVA_OPTS="$JAVA_OPTS -Db=2"', {"a": "1", "b": "2"}),
        ('JAVA_OPTS="-Da=1"\nJAVA_OPTS="-Db=2"', {"b": "2"}),
        ('JAVA_OPTS="-Da=1"\nJAVA_OPTS+=" -Db=2"', {"a": "1", "b": "2"}),
        ('FLUME_JAVA_OPTS="-Da=2"\nJAVA_OPTS="-Da=1 -Db=1"', {"a": "2", "b": "1"}),
        ('export JAVA_OPTS="-Da=1 \\\n  -Db=2"', {"a": "1", "b": "2"}),
        ('JAVA_OPTS="-Da=1\n-Db=2"', {"a": "1", "b": "2"}),
        ("export A=1 JAVA_OPTS=-Da=1", {"a": "1"}),
        ('DIR=/var/log\nJAVA_OPTS="-Dlog=$DIR/flume -Dc=${DIR}x"', {"log": "/var/log/flume", "c": "/var/logx"}),
        ('JAVA_OPTS="-Dhome=$HOME"', {"home": "/root"}),
        ('JAVA_OPTS="-Dflag"', {"flag": ""}),
        ('JAVA_OPTS="-Da=b=c"', {"a": "b=c"}),
        ('OTHER="-Da=b"', {}),
        ('echo JAVA_OPTS="-Da=b"', {}),
        ("\x00\xff\"'", {}),
        ("", {}),
    ],
)
def test_flags_are_read_from_plain_assignments(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    assert read(tmp_path, text, HOME="/root") == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('JAVA_OPTS="-Da=$(hostname) -Db=1"', {"b": "1"}),
        ('JAVA_OPTS="-Da=`touch ran` -Db=1"', {"b": "1"}),
        ('JAVA_OPTS="-Da=$UNKNOWN -Db=1"', {"b": "1"}),
        ('if [ -f x ]; then\n  JAVA_OPTS="-Da=1"\nfi\nFLUME_JAVA_OPTS="-Db=1"', {"b": "1"}),
        ('if true; then JAVA_OPTS="-Da=1"; fi\nFLUME_JAVA_OPTS="-Db=1"', {"b": "1"}),
        ('f() {\n JAVA_OPTS="-Da=1"\n}\nFLUME_JAVA_OPTS="-Db=1"', {"b": "1"}),
    ],
)
def test_what_would_have_to_be_run_does_not_count_and_is_said(
    tmp_path: Path, text: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, notes = read(tmp_path, text)
    assert found == expected
    assert len(notes) >= 1
    assert not (tmp_path / "ran").exists()


def test_no_file_means_no_flags(tmp_path: Path) -> None:
    assert system_properties(tmp_path) == {}
    assert system_properties(tmp_path / "none") == {}


def test_flags_of_the_environment_itself_are_not_counted_twice(tmp_path: Path) -> None:
    assert read(tmp_path, 'JAVA_OPTS="$JAVA_OPTS -Da=1"', JAVA_OPTS="-Db=2") == ({"a": "1"}, [])
