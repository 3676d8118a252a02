"""A cluster that wants tickets, and encrypts what goes over the wire."""

from __future__ import annotations

from pathlib import Path

import hdfs_native
import pytest
from hdfs.fixtures import KerberosCluster
from hdfs.shipping import Shipment


def test_an_agent_with_a_keytab_ships_for_somebody_else(
    hdfs_kerberos: KerberosCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over RPC and blocks that are encrypted; it logs in with this machine's name (_HOST), and the files are those of
    the user that it acts for."""
    cluster, kdc = hdfs_kerberos
    folder = cluster.folder()
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)
    client = hdfs_native.Client(cluster.uri, config_dir=str(cluster.conf_dir))
    client.mkdirs(folder)
    client.set_permission(folder, 0o777)
    login = {
        "hdfs.kerberosPrincipal": kdc.principal_of_host, "hdfs.kerberosKeytab": str(kdc.keytab),
        "hdfs.proxyUser": "alice",
    }  # fmt: skip
    environment = {"KRB5_CONFIG": str(kdc.krb5_conf)}
    with Shipment(tmp_path, cluster, folder=folder, sink=login, environment=environment) as shipment:
        shipment.start()
        shipment.more(1000)
        shipment.until_delivered()
        assert shipment.agent.stop() == 0
    assert cluster.shell("-cat", f"{folder}/*").splitlines() == [line.decode() for line in shipment.lines()]
    [listed] = client.list_status(folder)
    assert listed.owner == "alice" and not listed.path.endswith(".tmp")


def test_an_agent_without_a_keytab_is_told_what_is_missing(hdfs_kerberos: KerberosCluster, tmp_path: Path) -> None:
    cluster, kdc = hdfs_kerberos
    environment = {"KRB5_CONFIG": str(kdc.krb5_conf), "KRB5CCNAME": f"FILE:{tmp_path}/none"}
    with Shipment(tmp_path, cluster, environment=environment) as shipment:
        shipment.agent.start(wait=False)
        shipment.more()
        shipment.until_says("look at hdfs.kerberosPrincipal, hdfs.kerberosKeytab and krb5.conf")
