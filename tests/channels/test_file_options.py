"""The options of the file channel: each has its effect, or is refused with the reason and what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from shipper.api import EventBatch
from shipper.channels.file.channel import FileChannel
from shipper.channels.file.options import FileOptions
from shipper.config.field import read_options
from shipper.durable.checkpoint import CHECKPOINT_NAME
from shipper.durable.keys import Keys
from shipper.errors import ConfigurationError
from tests.channels.logged import Logged
from tests.hadoop import need_java


def wrong(**properties: str) -> str:
    """What a person is told of a key that can't be honoured; dots of keys are written as two underscores."""
    options, findings = read_options(FileOptions, {key.replace("__", "."): value for key, value in properties.items()})
    assert options is None
    return "\n".join(finding.message for finding in findings if finding.severity == "error")


def options_of(**properties: str) -> FileOptions:
    """Options that are all right."""
    options, findings = read_options(FileOptions, {key.replace("__", "."): value for key, value in properties.items()})
    assert options is not None, findings
    return options


def test_the_defaults_are_those_of_flume() -> None:
    home = Path.home()
    settings = options_of().log_settings()
    assert settings.checkpoint_dir == home / ".flume/file-channel/checkpoint"
    assert settings.data_dirs == (home / ".flume/file-channel/data",)
    assert settings.checkpoint_interval_s == 30 and settings.minimum_free_bytes == 524_288_000
    assert options_of().keep_alive_s == 3 and options_of().sync_each and options_of().sync_interval_s == 5


def test_a_copy_of_the_checkpoint_is_kept_where_the_file_says(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    channel = Logged(tmp_path, {"useDualCheckpoints": "true", "backupCheckpointDir": str(backup)})
    assert channel.put(b"a")
    channel.write()
    channel.writer.log.checkpoint()
    assert (backup / CHECKPOINT_NAME).exists()
    channel.kill()
    for path in (tmp_path / "checkpoint").iterdir():
        path.unlink()
    assert channel.drain() == [b"a"]
    channel.kill()


def test_a_copy_needs_a_place_of_its_own() -> None:
    assert "needs backupCheckpointDir" in wrong(useDualCheckpoints="true")
    assert "is used already" in wrong(useDualCheckpoints="true", checkpointDir="/a", backupCheckpointDir="/a")
    assert "is used already" in wrong(useDualCheckpoints="true", dataDirs="/a, /b", backupCheckpointDir="/b")
    assert "twice" in wrong(dataDirs="/a,/a")


def test_the_checkpoint_is_written_at_its_interval(tmp_path: Path) -> None:
    channel = Logged(tmp_path, {"checkpointInterval": "2000"})
    assert channel.put(b"a")
    channel.write()
    written = []
    checkpoint = channel.writer.log.checkpoint
    channel.writer.log.checkpoint = lambda: written.append(1) or checkpoint()  # type: ignore[method-assign, func-returns-value]
    channel.writer.tick(0.0)
    assert channel.put(b"b")
    channel.write()
    written.clear()
    channel.writer.tick(1.9)
    assert not written
    channel.writer.tick(2.1)
    assert written
    channel.kill()


def test_several_data_directories_are_used(tmp_path: Path) -> None:
    places = [tmp_path / "d1", tmp_path / "d2"]
    channel = Logged(tmp_path, {"dataDirs": ", ".join(map(str, places)), "maxFileSize": "64k"})
    assert set(channel.settings.data_dirs) == set(places)
    assert channel.put(b"a")
    channel.write()
    assert any(place.glob("*.segment") for place in places)
    channel.kill()


def test_files_have_the_size_that_the_file_says(tmp_path: Path) -> None:
    channel = Logged(tmp_path, {"maxFileSize": "256k"})
    assert channel.put(b"a")
    channel.write()
    assert {path.stat().st_size for path in (tmp_path / "data").glob("*.segment")} == {256 << 10}
    channel.kill()


def test_rows_that_find_no_room_are_dropped_when_the_file_says_so(tmp_path: Path) -> None:
    channel = Logged(tmp_path, {"capacity": "2", "onFull": "dropNewest"})
    for body in (b"a", b"b", b"c"):
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([body]))
        transaction.commit()
        transaction.close()
    assert transaction.dropped == {"c1": 1}
    assert channel.drain() == [b"a", b"b"]
    channel.kill()


def test_rarely_synced_rows_are_told_at_once_and_readable(tmp_path: Path) -> None:
    channel = Logged(tmp_path, {"fsyncPerTransaction": "false", "fsyncInterval": "7"})
    assert channel.put(b"first")
    channel.write()
    channel.now_s = 1.0
    assert channel.put(b"a")
    channel.write()
    assert channel.writer.log.durable_seq < channel.writer.log.appended_seq
    assert channel.drain() == [b"first", b"a"]
    channel.now_s = 8.0
    channel.write()
    assert channel.writer.log.durable_seq == channel.writer.log.appended_seq
    channel.kill()


@pytest.mark.parametrize("key", ["use-log-replay-v1", "use-fast-replay", "compressBackupCheckpoint"])
def test_what_flume_needs_and_this_does_not_is_refused_with_the_reason(key: str) -> None:
    options_of(**{key: "false"})
    assert "must be false: " in wrong(**{key: "true"})


def test_a_start_is_always_quick() -> None:
    options_of(checkpointOnClose="true")
    assert "must be true: " in wrong(checkpointOnClose="false")


def test_java_key_stores_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """The recipe stands once, and works as it stands: its command, its lines, and without those of the key store."""
    for key, value in [
        ("encryption__keyProvider__keyStoreFile", "/a.jks"), ("encryption__keyProvider__keyStorePasswordFile", "/a.pw"),
    ]:  # fmt: skip
        assert "remove the line, and see encryption.keyProvider" in wrong(**{key: value})
    told = wrong(encryption__keyProvider__keys="k1", encryption__activeKey="k1",
                 encryption__keyProvider__keys__k1__passwordFile="/pw")  # fmt: skip
    assert "Java key store" in told and "write encryption.keyProvider.keys.k1.file = " in told
    recipe = wrong(encryption__keyProvider="JCEKSFILE").replace("/path/to", str(tmp_path))
    assert subprocess.run(recipe.split("`")[1], shell=True).returncode == 0
    lines = dict(re.findall(r"(encryption\.[\w.]+) = ([^\s,]+)", recipe.split("`")[2]))
    options, findings = read_options(FileOptions, lines)
    assert options is not None and not findings
    keys = options.keys()
    assert keys is not None and keys.active == "k1" and len(keys.secrets["k1"]) == 32


def test_a_store_that_keytool_made_is_known_and_what_to_do_instead_works(tmp_path: Path) -> None:
    """As Flume's guide makes it."""
    need_java()
    store = tmp_path / "test.keystore"
    subprocess.run(
        ["keytool", "-J-XX:TieredStopAtLevel=1", "-genseckey", "-alias", "key-0", "-keypass", "keyPassword", "-keyalg",
         "AES", "-keysize", "128", "-validity", "9000", "-keystore", store, "-storetype", "jceks",
         "-storepass", "keyStorePassword"],
        check=True, capture_output=True,
    )  # fmt: skip
    store.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is a Java key store, which only Java reads") as refused:
        Keys.load("key-0", {"key-0": store})
    assert subprocess.run(str(refused.value).split("`")[1], shell=True, cwd=tmp_path).returncode == 0
    assert len(Keys.load("key-0", {"key-0": tmp_path / "key-0.key"}).secrets["key-0"]) == 32


def test_keys_are_complete_or_said_to_be_wrong() -> None:
    assert "k1.file is missing" in wrong(encryption__activeKey="k1", encryption__keyProvider__keys="k1")
    told = wrong(encryption__activeKey="k2", encryption__keyProvider__keys="k1",
                 encryption__keyProvider__keys__k1__file="/k1")  # fmt: skip
    assert "encryption.activeKey = k2 is not among" in told
    told = wrong(encryption__keyProvider__keys="k1", encryption__keyProvider__keys__k1__file="/k1")
    assert "encryption.activeKey is missing" in told
    assert "To encrypt no more: let the channel run empty with its keys first" in told


def test_the_cipher_is_the_one_that_finds_changes() -> None:
    _, findings = read_options(FileOptions, {"encryption.cipherProvider": "AESCTRNOPADDING"})
    assert [f.severity for f in findings] == ["warning"] and "AES-256-GCM" in findings[0].message
    assert "must be AESGCM" in wrong(encryption__cipherProvider="ROT13")


def test_bounds_are_said() -> None:
    assert "must be at least" in wrong(checkpointInterval="10")
    assert "must be at least" in wrong(minimumRequiredSpace="10")
    assert "must be at least" in wrong(maxFileSize="10")
    assert "no transaction could ever" in wrong(capacity="10", transactionCapacity="11")
    assert "block, dropNewest, dropOldest" in wrong(onFull="spill")


def test_a_strict_batch_is_as_large_as_a_transaction() -> None:
    strict = options_of(strictBatch="true", transactionCapacity="7", capacity="100")
    assert FileChannel("c1", strict).rows_max == 7
    assert FileChannel("c1", options_of(capacity="100")).rows_max == 50
    assert FileChannel("c1", options_of()).rows_max is None
