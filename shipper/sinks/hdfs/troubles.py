"""Troubles of a cluster: what its client raises, as the nearest error of the system with a sentence for a person.

The client knows few of Python's errors; most come as a text with the name of a Java class in it.
"""

from __future__ import annotations

import errno
import re

from shipper.files.store import Explained

_NO_REACTOR = "there is no reactor running"  # how the client fails where it would sleep and try again

#: In the name of a file: ms since 1970, and one more for each file.
_COUNTER = re.compile(r"\.[0-9]{13,}(?![0-9A-Za-z])")

_REPORT = "look at hdfs dfsadmin -report"

_CUT_OFF = "the connection was closed without an answer"
_RIGHT_PORT = (
    "are the NameNode and the DataNodes up, and is the port in hdfs.path the NameNode's RPC port (often 8020 or 9000)? "
    "Its web port (often 9870) is written webhdfs://HOST:PORT/..."
)

#: What is in the text -> errno, what came back (None = the first line of the text), what helps.
_KNOWN: tuple[tuple[str, int, str | None, str], ...] = (
    ("SafeModeException", errno.EROFS, "the NameNode is in safe mode and takes nothing",
     "wait until it has left it, or run hdfs dfsadmin -safemode leave"),
    ("AccessControlException", errno.EACCES, None,
     "give that user the right to write there (hdfs dfs -chown or -chmod), or set HADOOP_USER_NAME or hdfs.proxyUser"),
    ("DSQuotaExceeded", errno.EDQUOT, None,
     "free some space, or raise the quota (hdfs dfsadmin -setSpaceQuota)"),
    ("NSQuotaExceeded", errno.EDQUOT, None,
     "raise the quota (hdfs dfsadmin -setQuota) or make larger files"),
    ("QuotaExceeded", errno.EDQUOT, None, "raise the quota or free some"),
    ("currently owned by", errno.EBUSY, "another client is writing that file and holds its lease",
     "end that client, or wait until its lease is recovered"),
    ("RecoveryInProgress", errno.EBUSY, "its lease is being recovered", "wait, and see that its DataNodes are up"),
    ("AlreadyBeingCreated", errno.EBUSY, "another client is writing that file and holds its lease",
     "end that client, or wait until its lease is recovered"),
    ("LeaseExpired", errno.EBUSY, "another client has taken the lease of that file", "let nothing else write there"),
    ("could only be written to 0 of", errno.ENOSPC, "no DataNode takes the bytes: none is up, or all are full",
     _REPORT),
    ("There are 0 datanode(s) running", errno.ENOSPC, "no DataNode is up", _REPORT),
    ("PathComponentTooLong", errno.ENAMETOOLONG, None, "shorten the header or the template"),
    ("MaxDirectoryItems", errno.ENOSPC, None, "a directory is full: put a time or a header into hdfs.path"),
    ("ParentNotDirectory", errno.ENOTDIR, None, "rename that file or name another directory"),
    ("RetriableException", errno.EAGAIN, None, ""),
    ("StandbyException", errno.EAGAIN, "the NameNode is in standby: no other one is active, or none is configured",
     "name the nameservice in hdfs.path and give its hdfs-site.xml with -c"),
    ("GSSAPI", errno.EACCES, None, "look at hdfs.kerberosPrincipal, hdfs.kerberosKeytab and krb5.conf"),
    ("SASL", errno.EACCES, None, "the cluster wants Kerberos: set hdfs.kerberosPrincipal and hdfs.kerberosKeytab"),
    ("DataTransferError", errno.EIO, "no DataNode of the file takes its bytes", _REPORT),
    ("All nodes failed", errno.EIO, "no DataNode of the file takes its bytes", _REPORT),
    ("Block writer is closed", errno.EIO, "the file's DataNodes were lost", _REPORT),
    ("Failed to complete file", errno.EIO, "its last block is on no DataNode yet", "look at hdfs dfsadmin -report"),
    ("onnection refused", errno.ECONNREFUSED, "the connection was refused",
     "see that the NameNode is up, and that this is its RPC port"),
    ("RPC listener disconnected", errno.ECONNRESET, _CUT_OFF, _RIGHT_PORT),
    ("Broken pipe (os error", errno.ECONNRESET, _CUT_OFF, _RIGHT_PORT),
    (_NO_REACTOR, errno.ECONNREFUSED, "the connection was refused", "see that the NameNode is up"),
    ("failed to lookup address", errno.EHOSTUNREACH, "the NameNode's name is not known here",
     "check hdfs.path; a nameservice needs its hdfs-site.xml, with -c or HADOOP_CONF_DIR"),
)  # fmt: skip
_HELD = ("AlreadyBeingCreated", "RecoveryInProgress")
#: Come and go by themselves: a NameNode that is busy, not there, or not the active one yet; the last block of a file
#: that was just closed, of which no DataNode has told yet.
_PASSING = (
    "RetriableException", "RecoveryInProgress", "onnection refused", "StandbyException", _NO_REACTOR,
    "is not sufficiently replicated yet",
)  # fmt: skip


def translated(problem: BaseException, path: str) -> OSError:
    """The nearest error of the system."""
    text = str(problem)
    for mark, number, why, advice in _KNOWN:
        if mark in text:
            if isinstance(problem, FileExistsError) and number != errno.EBUSY:
                break
            return Explained(number, why or first_line(text), advice, path)
    if isinstance(problem, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, first_line(text), path)
    if isinstance(problem, FileExistsError):
        return FileExistsError(errno.EEXIST, first_line(text), path)
    number = problem.errno if isinstance(problem, OSError) and problem.errno else errno.EIO
    return Explained(number, first_line(text) or type(problem).__name__, path=path)


def is_held(problem: BaseException | None) -> bool:
    """True when somebody has that file open for writing, or had until a moment ago."""
    return any(mark in str(problem) for mark in _HELD)


def is_taken(problem: BaseException | None) -> bool:
    """True when a file can't be made since there is one of that name, closed or open."""
    return isinstance(problem, FileExistsError) or is_held(problem)


def passes(problem: BaseException) -> bool:
    """True when the same call may well succeed in a moment."""
    return any(mark in str(problem) for mark in _PASSING)


class Silent(Explained, TimeoutError):
    """A call that had no answer in time; whether it has been carried out is not known."""

    def __init__(self, seconds: float, path: str) -> None:
        super().__init__(
            errno.ETIMEDOUT, f"the cluster did not answer within {seconds:g} s (hdfs.callTimeout)",
            "see that the NameNode and the DataNodes are up", path,
        )  # fmt: skip


def first_line(text: str) -> str:
    """What a Java exception says, without its class, its stack, and the numbers of files, which each try makes anew."""
    match = re.match(r'RPCError\("[^"]*", "(.*)', text, re.DOTALL)
    if match:
        text = match[1].removesuffix('")')
    return _COUNTER.sub(".*", text.split("\\n")[0].split("\n")[0].strip().strip('"'))
