"""The platform of this host, as far as it decides what a program computes."""

import os
from functools import cache


@cache
def platform_id() -> str:
    """Return for example `linux-x86_64/debian-12/glibc-2.36`."""
    machine = os.uname()
    return f"{machine.sysname.lower()}-{machine.machine}/{_distribution()}/{_libc()}"


def _distribution() -> str:
    fields: dict[str, str] = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    name, _, value = line.strip().partition("=")
                    fields[name] = value.strip("\"'")
            break
        except OSError:
            continue
    version = fields.get("VERSION_ID", "")
    return fields.get("ID", "linux") + (f"-{version}" if version else "")


def _libc() -> str:
    try:
        named = os.confstr("CS_GNU_LIBC_VERSION")  # "glibc 2.36"
    except (ValueError, OSError):
        named = None
    return named.replace(" ", "-") if named else "libc-unknown"
