"""The guard itself: nothing but loopback is reached, from a test, from a script, and from a notebook's kernel.

192.0.2.1 and 2001:db8::1 are addresses for documentation, example.org is a name for it: nobody is there.
"""

import asyncio
import os
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from loopback_only import NetworkBlocked

OUTSIDE = ("192.0.2.1", 80)


def connect_ex():
    with socket.socket() as sock:
        sock.settimeout(1)
        sock.connect_ex(OUTSIDE)


def datagram():
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", OUTSIDE)


def message():
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"x"], [], 0, OUTSIDE)


def ipv6():
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(1)
        sock.connect(("2001:db8::1", 80))


def mapped_ipv4():
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(1)
        sock.connect(("::ffff:192.0.2.1", 80))


def through_asyncio():
    """In a thread of its own: a browser test that ran here before may have left a running loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(asyncio.wait_for(asyncio.open_connection(*OUTSIDE), 1))).result()


ATTEMPTS = {
    "connection": lambda: socket.create_connection(OUTSIDE, timeout=1),
    "connect_ex": connect_ex,
    "datagram": datagram,
    "message": message,
    "IPv6": ipv6,
    "IPv4 in IPv6": mapped_ipv4,
    "asyncio": through_asyncio,
    "name": lambda: socket.getaddrinfo("example.org", 80),
    "name in bytes": lambda: socket.getaddrinfo(b"example.org", 80),
    "old look-up": lambda: socket.gethostbyname("example.org"),
    "reverse look-up": lambda: socket.gethostbyaddr("192.0.2.1"),
    "a name that begins like loopback": lambda: socket.getaddrinfo("localhost.example.org", 80),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_nothing_outside_is_reached(attempt):
    with pytest.raises(NetworkBlocked, match="only loopback is open"):
        attempt()


def test_libraries_see_a_machine_without_a_network():
    with pytest.raises(OSError, match="only loopback is open"):
        urllib.request.urlopen("http://example.org", timeout=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_open(host):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=5) as client,
        server.accept()[0] as peer,
    ):
        client.sendall(b"hello")
        assert peer.recv(5) == b"hello"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_unix_sockets_are_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a Unix socket must be short
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
        client.sendall(b"hello")
        with server.accept()[0] as peer:
            assert peer.recv(5) == b"hello"


def test_scripts_started_by_a_test_are_guarded():
    code = f"import socket; socket.create_connection({OUTSIDE}, timeout=1)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "NetworkBlocked" in run.stderr


def run_with_nbmake(folder, *cells):
    """What pytest --nbmake says about a notebook with these cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, folder / "probe.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "--rootdir", ".", "probe.ipynb"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.long
def test_kernels_of_nbmake_are_guarded(tmp_path):
    run = run_with_nbmake(
        tmp_path,
        f"""
import socket
for reach, where in ((socket.create_connection, {OUTSIDE}), (socket.gethostbyname, "example.org")):
    try:
        reach(where)
    except OSError as error:
        assert type(error).__name__ == "NetworkBlocked", error
    else:
        raise AssertionError("the outside was reached")
""",
        """
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=5).close()
""",
        """
import torch
assert torch.get_num_threads() == 1
""",
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.long
def test_a_notebook_that_needs_the_network_fails(tmp_path):
    run = run_with_nbmake(tmp_path, f"import socket\nsocket.create_connection({OUTSIDE}, timeout=1)")
    assert run.returncode == 1
    assert "only loopback is open" in run.stdout


def test_one_thread_a_process():
    import torch

    assert torch.get_num_threads() == 1
