"""What a server allows: how much, how long, from whom."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adresponse.errors import ConfigError

__all__ = ["Options", "read_token"]


@dataclass(frozen=True)
class Options:
    """How a server treats requests; the defaults suit one machine.

    Parameters
    ----------
    host, port : str, int
        Where it listens; port 0 takes a free one.
    token : str
        What ``Authorization: Bearer`` has to carry; empty asks nobody for one. Probes (/ping, /health, /ready,
        /version) never need it, nor does the page at /docs, which is the same for every model.
    hosts : tuple of str
        Names that the ``Host`` header may carry, without port; ``*`` takes any.
    max_body : int
        Bytes of a request's body.
    max_waiting : int
        Requests under way at once; one more is answered 503 with Retry-After.
    timeout : float
        Seconds from the first byte of a request to its answer; then it is stopped and answered 504 (408 where head or
        body did not arrive whole). A new connection that sends nothing for so long is closed.
    drain : float
        Seconds that requests under way are given after SIGTERM.
    beyond : {"warn", "refuse"}
        What to do with values beyond the range of the rows fitted: answer with a warning header, or refuse with 422.
    log : {"requests", "errors"}
        Which requests get a line on standard error.

    Raises
    ------
    ConfigError
        If ``timeout`` is not above 0 or ``drain`` is below it, or either is no finite number; if ``host`` stands in the
        brackets of a URL; if one of ``hosts`` is an address with its port or scheme, which no header's name would be.
    """

    host: str = "127.0.0.1"
    port: int = 5001
    token: str = ""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    max_body: int = 8 << 20
    max_waiting: int = 256
    timeout: float = 30.0
    drain: float = 20.0
    beyond: Literal["warn", "refuse"] = "warn"
    log: Literal["requests", "errors"] = "requests"

    def __post_init__(self) -> None:
        """Refuse seconds that no clock reaches, and names that no caller can send."""
        if not 0 < self.timeout < math.inf:
            raise ConfigError(f"timeout={self.timeout:g} is no number of seconds above 0; give one such as 30.")
        if not 0 <= self.drain < math.inf:
            raise ConfigError(f"drain={self.drain:g} is no number of seconds; give one such as 20, or 0.")
        if self.host.startswith("["):
            raise ConfigError(f"host={self.host!r} has the brackets of a URL; give the address alone, {self.host.strip('[]')}.")
        for name in self.hosts:
            if re.search(r"/|^[^:]*:[0-9]*$", name):
                raise ConfigError(f"The allowed host {name!r} is more than a name; give it without scheme, port and path.")


def read_token(path: str | Path | None) -> str:
    """The token in a file, or nothing where no file is named."""
    if path is None:
        return ""
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The token file {str(path)!r} cannot be read: {getattr(error, 'strerror', error)}.") from None
    if len(token) < 16 or not (token.isascii() and token.isprintable()) or " " in token:  # else no header can hold it
        raise ConfigError(
            f"The token in {str(path)!r} is none that can be sent and kept secret: write one line of 16 or more characters, "
            "ASCII letters, digits and punctuation without blanks."
        )
    return token
