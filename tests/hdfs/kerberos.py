"""A KDC of MIT Kerberos on this machine, and what a cluster of Hadoop's is told to trust it.

Debian's packages; in CI they are installed, as root. The realm is known to nobody but those that are given its
`krb5.conf`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fetched import Trouble, install, locked, missing
from hdfs.daemon import Daemon
from hdfs.settings import LOOPBACK

from shipper.testing.ports import free_port

REALM = "TEST.LOCAL"
USER = "shipper"
_PACKAGES = ("krb5-kdc", "krb5-admin-server", "krb5-user")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_SERVERS = ("hdfs/localhost", "HTTP/localhost")

_CLIENT = """\
[libdefaults]
 default_realm = {realm}
 udp_preference_limit = 1
 dns_canonicalize_hostname = false
 rdns = false
 dns_lookup_kdc = false
 dns_lookup_realm = false
 ticket_lifetime = 24h
[realms]
 {realm} = {{
  kdc = {address}
 }}
[domain_realm]
 localhost = {realm}
 {loopback} = {realm}
"""
_SERVER = """\
[logging]
 kdc = STDERR
[kdcdefaults]
 kdc_listen = {address}
 kdc_tcp_listen = {address}
[realms]
 {realm} = {{
  database_name = {data}/principal
  acl_file = {data}/kadm5.acl
  key_stash_file = {data}/stash
  max_life = 24h
 }}
"""


class Kdc:
    """A realm with one user, a superuser of the HDFS, and the servers of an HDFS.

    Args:
        home: the folder of everything that it is; several processes may share it, one at a time may construct it.
        watched: it ends with this process.

    Attributes:
        krb5_conf: for `KRB5_CONFIG`.
        principal: of the user, with the realm; and one of this machine's user, as Hadoop's files write it.
        keytab: the user's.
        ticket_cache: the user's, for `KRB5CCNAME`; good for the tests' time.
    """

    def __init__(self, home: Path, watched: int) -> None:
        self.home = home
        self.krb5_conf = home / "krb5.conf"
        self.principal = f"{USER}@{REALM}"
        self.principal_of_host = f"{USER}/_HOST@{REALM}"
        self.keytab = home / f"{USER}.keytab"
        self.ticket_cache = home / "tickets"
        self._servers = home / "servers.keytab"
        self._data = home / "data"
        told = (f"KRB5_CONFIG={self.krb5_conf}", f"KRB5_KDC_PROFILE={home / 'kdc.conf'}")
        self._daemon = Daemon("kdc", ["/usr/bin/env", *told, _find("krb5kdc"), "-n"], home, self._data, watched)

    @property
    def environment(self) -> dict[str, str]:
        """What a client of MIT Kerberos needs in its environment."""
        return {"KRB5_CONFIG": str(self.krb5_conf), "KRB5CCNAME": f"FILE:{self.ticket_cache}"}

    @property
    def java(self) -> Sequence[str]:
        """What each JVM is told."""
        return (f"-Djava.security.krb5.conf={self.krb5_conf}", "-Dsun.security.krb5.rcache=none")

    def settings(self) -> dict[str, str]:
        """What an HDFS is told: Kerberos everywhere, blocks encrypted by AES."""
        server, web = (f"{name}@{REALM}" for name in _SERVERS)
        found = {
            "hadoop.security.authentication": "kerberos",
            "hadoop.rpc.protection": "privacy",
            "hadoop.http.filter.initializers": "org.apache.hadoop.hdfs.web.AuthFilterInitializer",
            "hadoop.http.authentication.type": "kerberos",
            "hadoop.http.authentication.kerberos.principal": web,
            "hadoop.http.authentication.kerberos.keytab": str(self._servers),
            "hadoop.http.authentication.simple.anonymous.allowed": "false",
            "dfs.web.authentication.kerberos.principal": web,
            "dfs.web.authentication.kerberos.keytab": str(self._servers),
            "dfs.block.access.token.enable": "true",
            "dfs.data.transfer.protection": "privacy",
            "dfs.encrypt.data.transfer.cipher.suites": "AES/CTR/NoPadding",
            "hadoop.user.group.static.mapping.overrides": f"{USER}=supergroup",
            "ignore.secure.ports.for.testing": "true",
            f"hadoop.proxyuser.{USER}.hosts": "*",
            f"hadoop.proxyuser.{USER}.groups": "*",
        }
        for kind in ("namenode", "datanode"):
            found[f"dfs.{kind}.kerberos.principal"] = server
            found[f"dfs.{kind}.keytab.file"] = str(self._servers)
        return found

    def start(self) -> Kdc:
        """Makes the realm unless it is there, starts its server, and fetches a ticket for the user."""
        environment = {**os.environ, **self.environment, "KRB5_KDC_PROFILE": str(self.home / "kdc.conf")}

        def tool(program: str, *arguments: str | Path) -> None:
            command = [_find(program), *map(str, arguments)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        if not self.ticket_cache.exists():
            self._data.mkdir(parents=True)
            address = f"{LOOPBACK}:{free_port()}"
            words = {"realm": REALM, "address": address, "loopback": LOOPBACK, "data": self._data}
            self.krb5_conf.write_text(_CLIENT.format(**words))
            (self.home / "kdc.conf").write_text(_SERVER.format(**words))
            tool("kdb5_util", "create", "-s", "-P", "not-a-secret", "-r", REALM)
            users = (USER, f"{USER}/{socket.getfqdn().lower()}")
            for name in (*_SERVERS, *users):
                tool("kadmin.local", "-q", f"addprinc -randkey {name}")
            tool("kadmin.local", "-q", f"ktadd -k {self._servers} {' '.join(_SERVERS)}")
            tool("kadmin.local", "-q", f"ktadd -k {self.keytab} {' '.join(users)}")
        self._daemon.start()
        self._daemon.until_said("commencing operation")
        tool("kinit", "-k", "-t", self.keytab, "-c", self.ticket_cache, USER)
        return self


def _find(program: str) -> str:
    """The path of a program of Kerberos. Skips the test where it can't be had."""
    with locked("kerberos"):
        if shutil.which(program, path=_PATH) is None:
            try:
                install(*_PACKAGES)
            except Trouble as trouble:
                missing(str(trouble))
    return str(shutil.which(program, path=_PATH))
