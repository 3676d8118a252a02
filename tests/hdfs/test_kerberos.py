"""A cluster that wants tickets, and encrypts what goes over the wire."""

from __future__ import annotations

from hdfs.fixtures import KerberosCluster


def test_who_has_a_ticket_is_let_in(hdfs_kerberos: KerberosCluster) -> None:
    cluster, kdc = hdfs_kerberos
    folder = cluster.folder()
    cluster.shell("-mkdir", folder)
    assert folder in cluster.shell("-ls", "/")
    kdc.ticket_cache.rename(kdc.ticket_cache.with_name("elsewhere"))
    try:
        assert "Client cannot authenticate" in cluster.shell("-ls", "/", check=False)
    finally:
        kdc.ticket_cache.with_name("elsewhere").rename(kdc.ticket_cache)
