"""A key that Flume knows is honoured or refused with a reason, never unknown to the component that has it."""

from __future__ import annotations

import pytest

from shipper import registry
from shipper.config.field import Options, declarations
from shipper.config.options import POLLABLE, ChannelKeys, GroupKeys, PollableSourceKeys, SinkKeys, SourceKeys

#: What Flume 1.11 reads, guide and code; a key ending in `.` stands for all keys below it.
KEYS = {
    "source exec": "command shell restart restartThrottle logStdErr batchSize batchTimeout charset",
    "source taildir": (
        "filegroups filegroups. positionFile headers. byteOffsetHeader skipToEnd idleTimeout "
        "writePosInterval batchSize maxBatchCount backoffSleepIncrement maxBackoffSleep "
        "cachePatternMatching fileHeader fileHeaderKey"
    ),
    "source spooldir": (
        "spoolDir fileSuffix deletePolicy trackingPolicy trackerDir fileHeader fileHeaderKey "
        "basenameHeader basenameHeaderKey includePattern ignorePattern consumeOrder pollDelay "
        "recursiveDirectorySearch maxBackoff batchSize inputCharset decodeErrorPolicy "
        "deserializer deserializer. bufferMaxLines bufferMaxLineLength"
    ),
    "source netcat": "bind port max-line-length ack-every-event encoding",
    "source seq": "totalEvents batchSize backoffSleepIncrement maxBackoffSleep",
    "channel memory": "capacity transactionCapacity keep-alive byteCapacity byteCapacityBufferPercentage",
    "channel file": (
        "checkpointDir useDualCheckpoints backupCheckpointDir compressBackupCheckpoint dataDirs transactionCapacity "
        "checkpointInterval maxFileSize minimumRequiredSpace capacity keep-alive checkpointOnClose use-log-replay-v1 "
        "use-fast-replay fsyncPerTransaction fsyncInterval encryption.activeKey encryption.cipherProvider "
        "encryption.keyProvider encryption.keyProvider.keyStoreFile encryption.keyStorePasswordFile "
        "encryption.keyProvider.keyStorePasswordFile encryption.keyProvider.keys encryption.keyProvider.keys."
    ),
    "sink hdfs": (
        "hdfs.path hdfs.filePrefix hdfs.fileSuffix hdfs.inUsePrefix hdfs.inUseSuffix "
        "hdfs.emptyInUseSuffix hdfs.rollInterval hdfs.rollSize hdfs.rollCount hdfs.idleTimeout "
        "hdfs.batchSize hdfs.codeC hdfs.fileType hdfs.writeFormat hdfs.maxOpenFiles "
        "hdfs.minBlockReplicas hdfs.threadsPoolSize hdfs.rollTimerPoolSize hdfs.kerberosPrincipal "
        "hdfs.kerberosKeytab hdfs.proxyUser hdfs.round hdfs.roundValue hdfs.roundUnit "
        "hdfs.timeZone hdfs.useLocalTimeStamp hdfs.closeTries hdfs.retryInterval hdfs.callTimeout "
        "hdfs.useRawLocalFileSystem hdfs.append.support serializer serializer."
    ),
    "sink file_roll": (
        "sink.directory sink.pathManager sink.pathManager.prefix sink.pathManager.extension "
        "sink.rollInterval sink.serializer sink.serializer. sink.batchSize"
    ),
    "sink logger": "maxBytesToLog",
    "sink null": "batchSize logEveryNEvents",
    "processor default": "",
    "processor failover": "priority. maxpenalty",
    "processor load_balance": "selector backoff selector.maxTimeOut",
    "selector replicating": "optional",
    "selector multiplexing": "header mapping. default optional.",
    "interceptor timestamp": "headerName preserveExisting",
    "interceptor host": "hostHeader useIP preserveExisting",
    "interceptor static": "key value preserveExisting",
    "interceptor remove_header": "withName fromList fromListSeparator matching",
    "interceptor search_replace": "searchPattern replaceString charset",
    "interceptor regex_filter": "regex excludeEvents",
    "interceptor regex_extractor": "regex serializers serializers.",
    "serializer text": "appendNewline",
    "serializer header_and_text": "appendNewline",
    "serializer avro_event": "syncIntervalBytes compressionCodec",
}
COMMON: dict[str, type[Options]] = {
    "source": SourceKeys, "channel": ChannelKeys, "sink": SinkKeys, "processor": GroupKeys,
}  # fmt: skip
THERE = [what for what in KEYS if registry.find(*what.split()) is not None]


@pytest.mark.parametrize("what", THERE)
def test_no_key_of_flume_is_unknown(what: str) -> None:
    family, name = what.split()
    common = PollableSourceKeys if name in POLLABLE else COMMON.get(family)
    declared = [*declarations(registry.find(family, name).Options).values()]  # type: ignore[union-attr]
    declared += declarations(common).values() if common is not None else []
    known = {key.replace("*", "") for d in declared for key in (d.key, *d.aliases)}
    assert [key for key in KEYS[what].split() if key not in known] == []
