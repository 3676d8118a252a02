"""A cluster that wants tickets, and encrypts what goes over the wire."""

from __future__ import annotations

from pathlib import Path

from hdfs.fixtures import KerberosCluster
from hdfs.shipping import Shipment


def test_an_agent_with_a_keytab_ships_for_somebody_else(hdfs_kerberos: KerberosCluster, tmp_path: Path) -> None:
    """Over RPC and blocks that are encrypted; the files are those of the user that it acts for."""
    cluster, kdc = hdfs_kerberos
    folder = cluster.folder()
    cluster.shell("-mkdir", "-p", folder)
    cluster.shell("-chmod", "777", folder)
    login = {
        "hdfs.kerberosPrincipal": kdc.principal, "hdfs.kerberosKeytab": str(kdc.keytab), "hdfs.proxyUser": "alice",
    }  # fmt: skip
    environment = {"KRB5_CONFIG": str(kdc.krb5_conf)}
    with Shipment(tmp_path, cluster, folder=folder, sink=login, environment=environment) as shipment:
        shipment.start()
        shipment.more(1000)
        shipment.until_delivered()
        assert shipment.agent.stop() == 0
    assert cluster.shell("-cat", f"{folder}/*").splitlines() == [line.decode() for line in shipment.lines()]
    [listed] = cluster.shell("-ls", "-C", folder).split()
    assert "alice" in cluster.shell("-stat", "%u", listed) and not listed.endswith(".tmp")


def test_an_agent_without_a_keytab_is_told_what_is_missing(hdfs_kerberos: KerberosCluster, tmp_path: Path) -> None:
    cluster, kdc = hdfs_kerberos
    environment = {"KRB5_CONFIG": str(kdc.krb5_conf), "KRB5CCNAME": f"FILE:{tmp_path}/none"}
    with Shipment(tmp_path, cluster, environment=environment) as shipment:
        shipment.agent.start(wait=False)
        shipment.more()
        shipment.until_says("look at hdfs.kerberosPrincipal, hdfs.kerberosKeytab and krb5.conf")
