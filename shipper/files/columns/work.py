"""Work: a file that is to be made, what is known of its stage, and how far it has got."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.files.columns.making import Making
from shipper.files.journal_record import FileRecord

#: State of a record whose stage takes no more, and of one whose stage would survive the machine as well.
WHOLE, DURABLE = "whole", "durable"


@dataclass(eq=False, slots=True)
class Work:
    """A file that is to be made. The write path sets what is known of the stage, the maker all else.

    Attributes:
        stage: path of its stage, without the suffix that says whether it is whole.
        record: of the file, in the journal of assignments.
        group_bytes: what a group of rows has at least.
        length: bytes of the stage that count.
        staged_rows: that are in them, as far as a journal says.
        whole: the stage takes no more rows.
        durable: the stage would survive the machine, and the channel knows.
        inherited: a process before may have begun to make the file.
        body_bytes: of all rows, where anybody counts them.
        read_bytes, written_bytes, rows: how much of the stage is in the file, and how large that is.
        tail: of the file, once it is whole; see `Extent`.
        tries: that failed in a row.
        why: the last of them did, in a sentence that is the same for all files of a folder.
        retry_s: when it may be tried again, monotonic.
        gone: done with.
    """

    stage: str
    record: FileRecord
    group_bytes: int
    length: int = 0
    staged_rows: int = 0
    whole: bool = False
    durable: bool = False
    inherited: bool = False
    body_bytes: int = 0
    making: Making | None = None
    read_bytes: int = 0
    written_bytes: int = 0
    rows: int = 0
    tail: str | None = None
    tries: int = 0
    why: str = ""
    retry_s: float = 0.0
    gone: bool = False

    @property
    def has_grown(self) -> bool:
        """There is a group of rows more than what is in the file."""
        return self.length - self.read_bytes >= self.group_bytes

    @property
    def finished(self) -> bool:
        """The file is made and waits for its name."""
        return self.record.progress is not None and self.record.progress.finished

    def abandon(self) -> None:
        """What was made so far is of no use."""
        if self.making is not None:
            self.making.abandon()
            self.making = None
            self.read_bytes = self.written_bytes = self.rows = 0
            self.inherited = True
