"""Where does a server listen, who can reach it there, and how is its address said?"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import sys
from dataclasses import replace

from adresponse.errors import ConfigError
from adresponse.serving.options import Options

__all__ = ["announce", "listen", "refuse_open_door", "say", "url_of"]

BACKLOG = 2048  # connections that wait while every worker is busy
EVERY = ("0.0.0.0", "::", "")  # noqa: S104  addresses that stand for all of a machine's


def refuse_open_door(options: Options, allow_anyone: bool = False) -> Options:
    """The options with the host that is listened on among the allowed names, or a refusal to let strangers in.

    Parameters
    ----------
    options : Options
        ``host``, ``token`` and ``hosts`` are looked at.
    allow_anyone : bool
        The user said that everyone who reaches the server may ask it.

    Raises
    ------
    ConfigError
        If other machines can reach the server and it asks for no token.
    """
    if _is_loopback(options.host):
        return options
    if not options.token and not allow_anyone:
        raise ConfigError(
            f"host={options.host!r} can be reached from other machines, and the server asks for no token; "
            "give one with --token-file, or say --allow-anyone."
        )
    names = options.hosts if options.host in EVERY else (*options.hosts, options.host)
    return replace(options, hosts=tuple(dict.fromkeys(names)))


def _is_loopback(host: str) -> bool:
    if host in EVERY:
        return False
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def listen(options: Options) -> socket.socket:
    """A listening socket at the options' host and port (0 takes a free one); the caller closes it.

    Raises
    ------
    ConfigError
        If the host is none of this machine's, or the port is in use, not allowed or no port.
    """
    host, port = options.host, options.port
    if not 0 <= port <= 65535:
        raise ConfigError(f"port={port} is no port; give one from 0 (a free one) to 65535.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"host={host!r} is no address of this machine; give 127.0.0.1 or one of its own.") from None
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise _unusable(host, port, error) from None
    return opened


def _unusable(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"port={port} of {host} is in use by another process; stop that one, or give another --port.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigError(f"port={port} of {host} is not allowed to this user; give a --port of 1024 or more.")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"host={host!r} is no address of this machine; give 127.0.0.1 or one of its own.")
    return ConfigError(f"The server cannot listen at {host}, port {port} ({error.strerror or error}).")


def url_of(listening: socket.socket) -> str:
    """The address that reaches a listening socket from this machine."""
    host, port = listening.getsockname()[:2]
    if host in EVERY:
        host = "::1" if listening.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(what: str, url: str) -> None:
    """Say on standard error what answers where."""
    say(f"serving {what} at {url} (docs at /docs)")


def say(sentence: str) -> None:
    """One line for the operator, on standard error; a reader that has gone, or a full disk, is no reason to stop serving."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"adresponse: {sentence}\n")
        sys.stderr.flush()
