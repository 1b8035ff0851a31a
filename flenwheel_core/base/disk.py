"""What a disk that cannot be written to means, in words."""

import errno

from flenwheel_core.base.errors import ReadOnlyError, ResourceError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def disk_error(error: OSError, what: str) -> ResourceError | ReadOnlyError | None:
    """The error for `what` could not be written; None if neither a full disk nor one that may not be written is the reason."""
    if error.errno in FULL:
        return ResourceError(
            f"The disk is full: {what} could not be written.",
            why="nothing was lost; the file before it is intact.",
            remedy="Free some space (`flenwheel gc` shows what nothing needs any more), then run it again.",
        )
    if error.errno in FORBIDDEN:
        return ReadOnlyError(
            f"Could not write {what}: it is read-only here.",
            why=f"{error.strerror or error}.",
            remedy="Check who owns the folder, and whether the disk is mounted to be written; flenwheel doctor looks, too.",
        )
    return None
