"""Opening the store that `hdfs.path` points to: a cluster, as the options and Hadoop's files say, or this machine."""

from __future__ import annotations

import os
from collections.abc import Callable

from shipper.api import ComponentFailed
from shipper.files.local import LocalStore
from shipper.files.store import Store, trouble
from shipper.sinks.hdfs.address import CLUSTERS, NEEDS_CLIENT, Place, client_is_there, place_of, scheme_of
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.file_system import FileSystem
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings, find_settings
from shipper.sinks.hdfs.http_cluster import HttpCluster
from shipper.sinks.hdfs.store import HdfsStore
from shipper.sinks.hdfs.web import WebPort, user_name

CALL_TIMEOUT_S = 30.0


def open_store(options: HdfsOptions, say: Callable[[str, str], None]) -> tuple[Store, str]:
    """The store, and the path in it with its escapes. Says what a person should know of it.

    Raises:
        ComponentFailed: there is no client for clusters, or it can't work as it is set.
    """
    settings = find_settings()
    place = place_of(options.path, settings.default_url)
    if scheme_of(f"{place.url}/") == "viewfs":
        place = _mounted(options, settings, place)
    if place.url:
        store, root = _cluster(options, settings, place.url, say), place.path.replace("{user}", user_name(place.url))
        for sentence in options.without_effect(on_cluster=True):
            say("info", sentence)
        return store, root
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
    return LocalStore(), root


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
    timeout_s = options.call_timeout_s or CALL_TIMEOUT_S
    user = user_name(url)
    file_system: FileSystem
    if scheme_of(f"{url}/") == "webhdfs":
        if not options.over_http:  # what holds there is looked at before the start, and not known from the path
            raise ComponentFailed(f"hdfs.path = {options.path} goes over HTTP, as fs.defaultFS = {url} says: write "
                                  f"hdfs.path = {url}/... to have that")  # fmt: skip
        file_system = HttpCluster(url, settings, user, options.proxy_user, timeout_s)
    else:
        if not client_is_there():
            raise ComponentFailed(f"hdfs.path = {options.path} is on {url}: {NEEDS_CLIENT}")
        from shipper.sinks.hdfs.cluster import Cluster, Login  # not before it is known that its library is there

        login = Login(
            principal=options.kerberos_principal, keytab=options.kerberos_keytab, proxy_user=options.proxy_user
        )  # fmt: skip
        file_system = Cluster(url, settings, login, timeout_s)
    where = (
        f"settings from {settings.folder}" if settings.folder else "no core-site.xml was found (-c, HADOOP_CONF_DIR)"
    )
    say("info", f"writes to {url}; {where}; a call may take {timeout_s:g} s (hdfs.callTimeout)")
    if options.ends_thin_files and (settings.replication or 0) in range(1, options.min_block_replicas or 0):
        say("warning", f"hdfs.minBlockReplicas = {options.min_block_replicas} and dfs.replication = "
            f"{settings.replication}: no block is ever on so many DataNodes, and 30 files of each bucket end "
            "early")  # fmt: skip
    try:
        return HdfsStore(file_system, WebPort(settings.web_addresses(url), user), say)
    except OSError as problem:
        raise ComponentFailed(trouble("work with", url, problem)) from problem
