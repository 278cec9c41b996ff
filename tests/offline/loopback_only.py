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


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_literal(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False


def _refuse(event: str, target) -> None:
    raise NetworkBlocked(f"the tests run offline: {event} to {target!r} was refused, only loopback is open")


def _guard(event: str, args: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args[0], args[1]
        if address and sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
            _refuse(event, address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
        # An address in digits is not looked up anywhere; a server that listens asks for "" or None.
        if host and host != "localhost" and not _is_literal(host):
            _refuse(event, host)


def install() -> None:
    if not hasattr(sys, "_loopback_only"):
        sys._loopback_only = True
        sys.addaudithook(_guard)
