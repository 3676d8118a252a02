"""Opening the store that `hdfs.path` points to: a cluster, as the options and Hadoop's files say, or this machine.

Its name (`elsewhere.py`) is what the journal knows of it, and all that is needed to open it once more when `hdfs.path`
points elsewhere by then.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from shipper.api import ComponentFailed
from shipper.files.elsewhere import LOCAL
from shipper.files.local import LocalStore
from shipper.files.store import Explained, Store, trouble
from shipper.sinks.hdfs.address import CLUSTERS, NEEDS_CLIENT, Place, client_is_there, place_of, scheme_of
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.file_system import FileSystem
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings, find_settings
from shipper.sinks.hdfs.http_cluster import HttpCluster
from shipper.sinks.hdfs.store import HdfsStore
from shipper.sinks.hdfs.web import WebPort, user_name

CALL_TIMEOUT_S = 30.0


def open_store(options: HdfsOptions, say: Callable[[str, str], None]) -> tuple[Store, str, str]:
    """The store, its name, and the path in it with its escapes. Says what a person should know of it.

    Raises:
        ComponentFailed: there is no client for clusters, or it can't work as it is set.
    """
    settings = find_settings()
    place = place_of(options.path, settings.default_url)
    if scheme_of(f"{place.url}/") == "viewfs":
        place = _mounted(options, settings, place)
    if place.url:
        for _, problem in options.cluster_problems():  # not looked at before the start where fs.defaultFS says it
            raise ComponentFailed(problem)
        user = options.proxy_user or user_name(place.url)
        store, root = _cluster(options, settings, place.url, say), place.path.replace("{user}", user)
        for sentence in options.without_effect(on_cluster=True):
            say("info", sentence)
        return store, place.url.rstrip("/"), root
    root = place.path if place.path.startswith("/") else os.path.join(os.getcwd(), place.path)
    if scheme_of(options.path) in CLUSTERS:
        raise ComponentFailed(f"hdfs.path = {options.path} names no cluster, and no fs.defaultFS is set: write "
                              "hdfs://host:8020/..., or give core-site.xml with -c or HADOOP_CONF_DIR")  # fmt: skip
    if not scheme_of(options.path):
        say("warning", f"hdfs.path = {options.path} has no scheme, and no core-site.xml with a cluster in it was found "
            f"(-c, HADOOP_CONF_DIR): it is taken for a local directory of this machine; write file://{root} to say so, "
            "or hdfs://host:8020/...")  # fmt: skip
    for sentence in options.without_effect(on_cluster=False):
        say("info", sentence)
    return LocalStore(), LOCAL, root


def reopen_store(options: HdfsOptions, name: str, say: Callable[[str, str], None]) -> Store:
    """A store that `hdfs.path` pointed to before, by its name; with the rest of the options as they are now.

    Raises:
        OSError: it can't be reached.
    """
    if name == LOCAL:
        return LocalStore()
    settings = find_settings()
    try:
        return HdfsStore(_file_system(options, settings, name), _web_port(options, settings, name), say)
    except ComponentFailed as problem:
        raise Explained(errno.ENXIO, str(problem)) from problem


def _mounted(options: HdfsOptions, settings: HadoopSettings, place: Place) -> Place:
    """The place behind a mount point. The client has them too, but only with a `linkFallback`."""
    table = place.url.partition("://")[2]
    address = settings.mounted(table, place.path)
    if scheme_of(address) != "hdfs":
        leads = f"leads to {address}, where nothing can be written by mount points" if address else "leads nowhere"
        raise ComponentFailed(f"hdfs.path = {options.path} {leads}: name a mount point of viewfs://{table}, before the "
                              f"first escape, that core-site.xml links to hdfs://... "
                              f"(fs.viewfs.mounttable.{table}.link./name)")  # fmt: skip
    return place_of(address, "")


def _cluster(options: HdfsOptions, settings: HadoopSettings, url: str, say: Callable[[str, str], None]) -> Store:
    if scheme_of(f"{url}/") == "webhdfs" and not options.over_http:
        # What holds there is looked at before the start, and not known from the path.
        raise ComponentFailed(f"hdfs.path = {options.path} goes over HTTP, as fs.defaultFS = {url} says: write "
                              f"hdfs.path = {url}/... to have that")  # fmt: skip
    file_system = _file_system(options, settings, url)
    where = (
        f"settings from {settings.folder}" if settings.folder else "no core-site.xml was found (-c, HADOOP_CONF_DIR)"
    )
    say("info", f"writes to {url}; {where}; a call may take {file_system.timeout_s:g} s (hdfs.callTimeout)")
    if options.ends_thin_files and (settings.replication or 0) in range(1, options.min_block_replicas or 0):
        say("warning", f"hdfs.minBlockReplicas = {options.min_block_replicas} and dfs.replication = "
            f"{settings.replication}: no block is ever on so many DataNodes, and 30 files of each bucket end "
            "early")  # fmt: skip
    try:
        return HdfsStore(file_system, _web_port(options, settings, url), say)
    except OSError as problem:
        raise ComponentFailed(trouble("work with", url, problem)) from problem


def _file_system(options: HdfsOptions, settings: HadoopSettings, url: str) -> FileSystem:
    timeout_s = options.call_timeout_s or CALL_TIMEOUT_S
    if scheme_of(f"{url}/") == "webhdfs":
        return HttpCluster(url, settings, user_name(url), options.proxy_user, timeout_s)
    if not client_is_there():
        raise ComponentFailed(f"{url} is a cluster: {NEEDS_CLIENT}")
    from shipper.sinks.hdfs.cluster import Cluster, Login  # not before it is known that its library is there

    login = Login(principal=options.kerberos_principal, keytab=options.kerberos_keytab, proxy_user=options.proxy_user)
    return Cluster(url, settings, login, timeout_s)


def _web_port(options: HdfsOptions, settings: HadoopSettings, url: str) -> WebPort:
    user = user_name(url)
    if scheme_of(f"{url}/") != "webhdfs":
        user = options.proxy_user or user  # whose the files are
    return WebPort(settings.web_addresses(url), user)
