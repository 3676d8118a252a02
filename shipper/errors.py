"""The errors of shipper, each named for what the caller does next.

::

    ShipperError
    |-- ConfigurationError      stop, show every problem to the person, exit 1
    |-- ComponentFailed         this component can't go on: the supervisor restarts it with back-off
    |-- RetryLater              nothing was delivered: roll back, wait `after_s`, try again
    |-- Refused                 these rows will never be accepted: set them aside, go on with the rest
    |-- TransactionMisused      a bug in the caller: put or take outside begin..commit
    `-- DamagedData             bytes that fail their own checks: salvage, count, go on

Full, empty and not-yet are answers (`None`, `0`, `False`), never exceptions.
"""

from __future__ import annotations


class ShipperError(Exception):
    """Base of all errors that shipper raises on purpose."""


class ConfigurationError(ShipperError):
    """What a person wrote can't be run. The message says what, where, the value and what to do."""


class ComponentFailed(ShipperError):
    """A source, channel or sink can't go on as it is (a port in use, a directory gone).

    The worker rolls back, closes and exits; the supervisor shows the message and restarts it with back-off.
    """


class RetryLater(ShipperError):
    """The target can't take anything now. Nothing of the transaction may count as delivered.

    Args:
        message: what was being done, to what, and what came back.
        after_s: seconds that the caller should wait at least; 0 leaves it to the caller's back-off.
    """

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Refused(ShipperError):
    """Some rows of a batch will never be accepted, however often they are tried.

    Args:
        message: why, with the offending value.
        rows: indices of the rows in the batch that was delivered; None when the culprits are not known.
    """

    def __init__(self, message: str, rows: tuple[int, ...] | None = None) -> None:
        super().__init__(message)
        self.rows = rows


class TransactionMisused(ShipperError):
    """A transaction was used outside its states (NEW, OPEN, COMPLETED, CLOSED)."""


class DamagedData(ShipperError):
    """Stored bytes do not pass their checksum or their bounds."""
