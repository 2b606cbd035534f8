"""How many files and sockets the process may have open: as many as the system lets it.

The soft limit is often 1024, for programs that use select(2); connections, associations and files
of this one can be more.
"""

import resource
from typing import Final

from gateway import telemetry

MOST: Final = 1 << 20
"""More are of no use, and make some programs that are started slow."""


def raise_limit() -> None:
    """Raise the soft limit of open descriptors to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        telemetry.alarm("the limit of open files stays", limit=soft, reason=str(error))
    else:
        telemetry.note("the limit of open files is raised", before=soft, limit=wanted)
