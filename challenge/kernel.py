"""What the kernel itself keeps from a submission, where it can. It holds for C code too, and nobody takes it back.

Linux alone has it: a network without a wire (user namespaces), and files out of reach (Landlock, from Linux 5.13 on).
"""

import contextlib
import ctypes
import os
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # <linux/sched.h>
SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, of the same number everywhere
PATH_BENEATH, GIVE_VERSION = 1, 1
# <linux/landlock.h>: rights to files. Each version of Landlock knows some more of them, from the lowest bit on.
WRITE, READ, LIST, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
SPECIAL = 1 << 0 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11  # to execute; to make a device, a socket, a pipe with a name
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")  # libraries
SYSTEM += ("/proc/cpuinfo", "/sys/devices/system/cpu")  # by which torch chooses its instructions
KNOWN = {1: 13, 2: 14, 3: 15, 4: 15}  # bits; 16 from version 5 on


def cut_the_network() -> None:
    """A network of our own without a wire, where anybody may have one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET)


def landlock() -> int:
    """The version of Landlock; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, GIVE_VERSION), 0)


def close_the_files(folder: str, code: list[tuple[str, bool]], devices: tuple[str, ...]) -> bool:
    """From here on this process reads and writes in the folder, reads code, and starts no program. Returns whether
    the kernel holds that.

    code: paths, and whether what is in them may be read; where not, a folder's names alone may be listed.
    """
    if not (version := landlock()):
        return False
    c = ctypes.CDLL(None)
    call, known = c.syscall, (1 << KNOWN.get(version, 16)) - 1
    rules = call(CREATE_RULESET, struct.pack("=Q", known), 8, 0)

    def allow(path: str, rights: int) -> None:
        with contextlib.suppress(OSError):  # what is not there needs no rule
            there = os.open(path, os.O_PATH)
            rights &= known if os.path.isdir(path) else READ | WRITE | TRUNCATE
            call(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights & known, there), 0)
            os.close(there)

    allow(folder, known & ~SPECIAL)
    for path in devices:
        allow(path, READ | WRITE)
    for path, inside in code:
        allow(path, READ | LIST if inside else LIST)
    held = not c.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0) and not call(RESTRICT_SELF, rules, 0)
    os.close(rules)
    return held


def code(is_open, *packages: str) -> list[tuple[str, bool]]:
    """What an import may read, for `close_the_files`: of every folder on Python's path the modules that are open,
    with the libraries that come with them. is_open: whether a submission may import a name. packages: other
    folders."""
    found = [(path, True) for path in (*packages, *SYSTEM)]
    for folder in {*sys.path, os.path.join(sys.base_prefix, "lib")}:
        if os.path.isdir(folder):
            found.append((folder, False))
            for name in os.listdir(folder):
                ours = name.endswith((".dist-info", ".libs", "__pycache__")) or ".so" in name
                if ours or is_open(name.partition(".")[0]):
                    found.append((os.path.join(folder, name), True))
    return found
