"""The guard that keeps the tests off the network: only loopback gets through, and sockets that are no internet ones.

Installed in every Python process of a test run (see sitecustomize.py beside this file). It stands on an audit hook,
which sees connects, datagrams and look-ups of names wherever in Python they come from, and cannot be undone.
NetworkBlocked is an OSError, as on a machine without a network: code with a fallback for that may use it.
"""

import ipaddress
import socket
import sys


class NetworkBlocked(OSError):
    """The test run tried to reach another machine."""


def _address(host: str):
    """The address that `host` spells in digits, or None if it is a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _refuse(event: str, target) -> None:
    raise NetworkBlocked(f"the tests run offline: {event} to {target!r} was refused, only loopback is open")


def _guard(event: str, args: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args[0], args[1]
        if address and sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
            _refuse(event, address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
        # A server that listens asks for "" or None, and digits are only looked up in reverse.
        digits = event != "socket.gethostbyaddr" and host and _address(host)
        if host and not digits and not _is_loopback(host):
            _refuse(event, host)


def install() -> None:
    if not hasattr(sys, "_loopback_only"):
        sys._loopback_only = True
        sys.addaudithook(_guard)
