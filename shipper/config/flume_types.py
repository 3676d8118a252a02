"""What Flume calls its components: to say of a type that it is right in Flume and not in this build, and of an
invented one what was probably meant.

Only names; what a component does here is said by its own file.
"""

from __future__ import annotations

_PACKAGE = "org.apache.flume."

#: family -> alias -> the class names behind it, without `org.apache.flume.`. An alias in angle brackets does not
#: exist in Flume, where the class name has to be written; it serves as the component's name in messages.
_NAMES = {
    "source": {
        "seq": ("source.SequenceGeneratorSource",),
        "netcat": ("source.NetcatSource",),
        "netcatudp": ("source.NetcatUdpSource",),
        "exec": ("source.ExecSource",),
        "avro": ("source.AvroSource",),
        "syslogtcp": ("source.SyslogTcpSource",),
        "multiport_syslogtcp": ("source.MultiportSyslogTCPSource",),
        "syslogudp": ("source.SyslogUDPSource",),
        "spooldir": ("source.SpoolDirectorySource",),
        "http": ("source.http.HTTPSource",),
        "thrift": ("source.ThriftSource",),
        "jms": ("source.jms.JMSSource",),
        "taildir": ("source.taildir.TaildirSource",),
        "<kafka>": ("source.kafka.KafkaSource",),
        "<scribe>": ("source.scribe.ScribeSource",),
        "<twitter>": ("source.twitter.TwitterSource",),
        "<stress>": ("source.StressSource",),
        "<legacy avro>": ("source.avroLegacy.AvroLegacySource",),
        "<legacy thrift>": ("source.thriftLegacy.ThriftLegacySource",),
    },
    "sink": {
        "null": ("sink.NullSink",),
        "logger": ("sink.LoggerSink",),
        "file_roll": ("sink.RollingFileSink",),
        "hdfs": ("sink.hdfs.HDFSEventSink",),
        "irc": ("sink.irc.IRCSink",),
        "avro": ("sink.AvroSink",),
        "thrift": ("sink.ThriftSink",),
        "elasticsearch": ("sink.elasticsearch.ElasticSearchSink",),
        "hbase": ("sink.hbase.HBaseSink",),
        "asynchbase": ("sink.hbase.AsyncHBaseSink",),
        "hbase2": ("sink.hbase2.HBase2Sink",),
        "morphline_solr": ("sink.solr.morphline.MorphlineSolrSink",),
        "hive": ("sink.hive.HiveSink",),
        "http": ("sink.http.HttpSink",),
        "<kafka>": ("sink.kafka.KafkaSink",),
        "<kudu>": ("sink.kudu.KuduSink",),
        "<kite>": ("sink.kite.DatasetSink",),
    },
    "channel": {
        "memory": ("channel.MemoryChannel",),
        "file": ("channel.file.FileChannel",),
        "jdbc": ("channel.jdbc.JdbcChannel",),
        "spillablememory": ("channel.SpillableMemoryChannel",),
        "<kafka>": ("channel.kafka.KafkaChannel",),
        "<pseudo transaction memory>": ("channel.PseudoTxnMemoryChannel",),
    },
    "selector": {
        "replicating": ("channel.ReplicatingChannelSelector",),
        "multiplexing": ("channel.MultiplexingChannelSelector",),
        "load_balancing": ("channel.LoadBalancingChannelSelector",),
    },
    "processor": {
        "default": ("sink.DefaultSinkProcessor",),
        "failover": ("sink.FailoverSinkProcessor",),
        "load_balance": ("sink.LoadBalancingSinkProcessor",),
    },
    "interceptor": {
        "timestamp": ("interceptor.TimestampInterceptor",),
        "host": ("interceptor.HostInterceptor",),
        "static": ("interceptor.StaticInterceptor",),
        "regex_filter": ("interceptor.RegexFilteringInterceptor",),
        "regex_extractor": ("interceptor.RegexExtractorInterceptor",),
        "remove_header": ("interceptor.RemoveHeaderInterceptor",),
        "search_replace": ("interceptor.SearchAndReplaceInterceptor",),
        "<uuid>": ("sink.solr.morphline.UUIDInterceptor",),
        "<morphline>": ("sink.solr.morphline.MorphlineInterceptor",),
    },
}

#: Invented types -> what has that job. `{prefix}` is the component's `a1.sources.r1.`, `{path}` a path of its file.
_TAILDIR = ("{prefix}type = TAILDIR", "{prefix}filegroups = f1", "{prefix}filegroups.f1 = {path}")
_SPOOLDIR = ("{prefix}type = spooldir", "{prefix}spoolDir = {folder}")
_FILE_ROLL = ("{prefix}type = file_roll", "{prefix}sink.directory = {folder}")
_MEANT: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "source": {
        "log4j log4j2 logback log file files logfile log_file tail tail_f tailf taildirectory filetail": (
            "TAILDIR follows a growing file",
            _TAILDIR,
        ),
        "dir directory folder spool spooldirectory spooling": (
            "spooldir reads the finished files of a folder",
            _SPOOLDIR,
        ),
        "tcp socket nc": ("netcat takes lines over TCP", ("{prefix}type = netcat",)),
        "udp": ("netcatudp takes datagrams", ("{prefix}type = netcatudp",)),
        "syslog rsyslog": ("syslog comes in by syslogtcp, or syslogudp", ("{prefix}type = syslogtcp",)),
        "command shell script cmd process stdin": ("exec reads the output of a command", ("{prefix}type = exec",)),
        "rest webhook": ("http takes events by POST", ("{prefix}type = http",)),
        "random test generator": ("seq makes events that count up", ("{prefix}type = seq",)),
    },
    "sink": {
        "console stdout print log": ("logger shows the events", ("{prefix}type = logger",)),
        "file local localfile rolling rollingfile fileroll roll": ("file_roll writes files into a folder", _FILE_ROLL),
        "s3 s3a oss cos gcs hadoop webhdfs": ("hdfs writes there, by its hdfs.path", ("{prefix}type = hdfs",)),
        "none noop devnull blackhole": ("null throws everything away", ("{prefix}type = null",)),
    },
    "channel": {
        "mem ram memorychannel inmemory queue": ("the channel in memory is memory", ("{prefix}type = memory",)),
        "disk filechannel": ("the channel on disk is file", ("{prefix}type = file",)),
    },
}


def as_flume_spells(family: str, alias: str) -> str:
    """A class name with Flume's capitals, whatever its case; any other alias as it is."""
    for names in _NAMES.get(family, {}).values():
        for name in names:
            for whole in (f"{_PACKAGE}{name}", f"{_PACKAGE}{name}$Builder"):
                if alias.lower() == whole.lower():
                    return whole
    return alias


def flume_name(family: str, type_name: str) -> str | None:
    """What Flume calls the component with that alias or class name (`kafka`), None when Flume has none."""
    wanted = type_name.strip().lower().removesuffix("$builder")
    for alias, classes in _NAMES.get(family, {}).items():
        if wanted in (alias.strip("<>"), *(f"{_PACKAGE}{name}".lower() for name in classes)):
            return alias.strip("<>")
    return None


def flume_class(family: str, name: str) -> str | None:
    """The class name of a component that has no alias in Flume (`kafka`), None when it has one."""
    classes = _NAMES.get(family, {}).get(f"<{name}>")
    return None if classes is None else _PACKAGE + classes[0]


def known_names(family: str) -> list[str]:
    """Everything that Flume lets one write as a `type`."""
    return [alias for alias in _NAMES.get(family, {}) if not alias.startswith("<")]


def meant(family: str, type_name: str, prefix: str, values: list[str]) -> tuple[str, tuple[str, ...]] | None:
    """What an invented type probably stands for: a sentence, and lines ready to be copied.

    Args:
        prefix: the beginning of the component's keys, with the dot.
        values: all values of the component: a path among them goes into the lines.
    """
    wanted = type_name.strip().lower().replace("-", "").removesuffix(family)
    for names, (sentence, lines) in _MEANT.get(family, {}).items():
        if wanted.replace("_", "") in names.replace("_", "").split():
            path = next((v for v in values if v.startswith("/")), "/var/log/app.log")
            folder = path if "." not in path.rpartition("/")[2] else path.rpartition("/")[0] or "/"
            return sentence, tuple(line.format(prefix=prefix, path=path, folder=folder) for line in lines)
    return None
