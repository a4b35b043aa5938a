"""Ports of this machine."""

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.create_server((host, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def taken(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server of ours could not listen there."""
    try:
        with socket.create_server((host, port)):
            return False
    except OSError:
        return True


def reachable(port: int, host: str = "127.0.0.1") -> bool:
    """Whether someone listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
