"""Is a deployment asked as it wants to be asked, and is what goes wrong said in one sentence? And who may be let in?"""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from adresponse import deployment
from adresponse.errors import ConfigError, DeploymentError, DifferenceError, ModelError
from adresponse.serving import client, launch, listening, supervise
from adresponse.serving.options import Options
from adresponse.serving.pointer import Pointed
from parts import free_port
from served_example import alive, children, closed_model, environment, until
from stored_example import one_channel, stored

Reply = Callable[[dict[str, Any]], tuple[int, Any]]


@contextlib.contextmanager
def answering(reply: Reply, version: Callable[[], str] = lambda: "3") -> Iterator[tuple[str, list[Any]]]:
    """A server that answers as ``reply`` says; gives its address and what it was asked, with the client's port."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.client_address[1], self.headers.get("Authorization"), request))
            status, answer = reply(request)
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Model-Version", version())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def doubled(request: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"predictions": [2 * row[0] for row in request["dataframe_split"]["data"]]}


def test_rows_go_in_batches_over_one_connection_and_come_back_in_order() -> None:
    spend = [i / 8 for i in range(2_300)]
    with answering(doubled) as (url, asked):
        answer = client.ask(url, {"TV": spend, "Radio": spend}, token="of-ours")
    assert answer == client.Answer([2 * s for s in spend], None, None, "3")
    assert [len(request["dataframe_split"]["data"]) for *_, request in asked] == [1000, 1000, 300]
    assert {(path, token) for path, _, token, _ in asked} == {("/invocations", "Bearer of-ours")}
    assert len({port for _, port, _, _ in asked}) == 1
    assert asked[0][3]["dataframe_split"]["columns"] == ["TV", "Radio"]


def test_an_interval_comes_back_with_its_ends() -> None:
    def reply(request: dict[str, Any]) -> tuple[int, Any]:
        assert request["params"] == {"interval": 0.9}
        return 200, {"predictions": [{"prediction": 2.0, "lower": 1, "upper": 3.5}]}

    with answering(reply) as (url, _):
        assert client.ask(f"{url}/invocations", {"TV": [1.0]}, 0.9) == client.Answer([2.0], [1.0], [3.5], "3")


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (401, {"message": "A token is needed."}, r"refused \(401\): A token is needed"),
        (403, b"", r"refused \(403\): Forbidden"),
        (408, b"", r"refused \(408\): Request Timeout"),
        (429, b"", r"refused \(429\): Too Many Requests"),
        (502, b"<html>\nBad Gateway</html>", r"refused \(502\): <html> Bad Gateway</html>"),  # a gateway's page
        (503, b"", r"refused \(503\): Service Unavailable"),  # nothing said
    ],
)
def test_a_deployment_that_cannot_be_asked_is_said_in_its_words(status: int, answer: Any, says: str) -> None:
    with answering(lambda request: (status, answer)) as (url, _), pytest.raises(DeploymentError, match=says) as caught:
        client.ask(url, {"TV": [1.0]})
    assert type(caught.value) is DeploymentError


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (400, {"error_code": "BAD_REQUEST", "message": "Column 'TV' is missing."}, r"refused \(400\): Column 'TV' is missing"),
        (200, b"welcome", "gave no predictions"),  # something else listens there
        (200, [1], "gave no predictions"),
        (200, b"[" * 100_000, "gave no predictions"),  # deeper than JSON is read
        (200, {"predictions": [1.0, 2.0]}, "gave 2 predictions for 1 rows"),
        (200, {"predictions": ["much"]}, "no numbers"),
        (200, {"predictions": ["12.5"]}, "no numbers"),  # a text, though float() would take it
        (200, {"predictions": [True]}, "no numbers"),
        (200, {"predictions": [None]}, "no numbers"),
        (200, {"predictions": [10**400]}, "no numbers"),  # beyond a double
        (200, b'{"predictions": [NaN]}', "no finite number for prediction, row 1"),
    ],
)
def test_what_is_no_answer_to_the_rows_is_a_difference(status: int, answer: Any, says: str) -> None:
    with answering(lambda request: (status, answer)) as (url, _), pytest.raises(DifferenceError, match=says):
        client.ask(url, {"TV": [1.0]})


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        ([2.0], "gave no interval"),  # a server that drops params
        ([{"prediction": 2.0, "lower": 1.0}], "no numbers"),
    ],
)
def test_an_answer_without_the_interval_is_refused(predictions: list[Any], says: str) -> None:
    with answering(lambda _: (200, {"predictions": predictions})) as (url, _), pytest.raises(DifferenceError, match=says):
        client.ask(url, {"TV": [1.0]}, 0.9)


def test_several_versions_in_one_answer_are_refused() -> None:
    versions = iter("34")
    with (
        answering(doubled, lambda: next(versions)) as (url, _),
        pytest.raises(DifferenceError, match=r"several versions \(3, 4\)"),
    ):
        client.ask(url, {"TV": [1.0] * 1_500})


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(DeploymentError, match=r"cannot be asked \(Connection refused\); is it running\?"):
        client.ask(f"http://127.0.0.1:{free_port()}", {"TV": [1.0]})


def test_a_server_that_is_silent_is_not_waited_for() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeploymentError, match="did not answer in time"):
            client.ask(url, {"TV": [1.0]}, timeout=0.2)


def test_https_is_spoken_and_a_plain_server_there_is_said() -> None:
    with answering(doubled) as (url, _), pytest.raises(DeploymentError, match="cannot be asked"):
        client.ask(url.replace("http:", "https:"), {"TV": [1.0]})


@pytest.mark.parametrize("url", ["127.0.0.1:5001", "ftp://127.0.0.1", "http://", "http://[::1", "http://h:port"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a server"):
        client.ask(url, {"TV": [1.0]})


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://user:secretpw@127.0.0.1:5001", "a user"),
        ("http://secretpw@127.0.0.1:5001", "a user"),
        ("user:secretpw@127.0.0.1", "a user"),  # no address either
        ("http://user:secret/pw@127.0.0.1", "a user"),  # a password that is not quoted
        ("http://127.0.0.1:5001/?key=secretpw", "a query"),
        ("http://127.0.0.1:5001/#secretpw", "a fragment"),
    ],
)
def test_a_url_that_holds_more_than_an_address_is_refused_and_not_repeated(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"The url holds {what} .*--token-file") as caught:
        client.ask(url, {"TV": [1.0]})
    assert "secret" not in str(caught.value)


# --- who may be let in, and where


@pytest.mark.parametrize(
    ("host", "token", "anyone", "open_"),
    [
        ("127.0.0.1", "", False, True),
        ("127.8.8.8", "", False, True),  # all of 127/8 is loopback
        ("::1", "", False, True),
        ("localhost", "", False, True),
        ("0.0.0.0", "", False, False),
        ("", "", False, False),  # as good as 0.0.0.0
        ("::", "", False, False),
        ("192.168.1.4", "", False, False),
        ("sales.example", "", False, False),
        ("0.0.0.0", "of-ours", False, True),
        ("0.0.0.0", "", True, True),
    ],
)
def test_beyond_loopback_a_token_or_a_word_of_the_user_is_needed(host: str, token: str, anyone: bool, open_: bool) -> None:
    options = Options(host=host, token=token)
    if open_:
        assert listening.refuse_open_door(options, anyone).host == host
    else:
        with pytest.raises(ConfigError, match=r"can be reached from other machines.*--token-file.*--allow-anyone"):
            listening.refuse_open_door(options, anyone)


def test_a_host_in_brackets_is_refused_as_such_and_not_as_an_open_door() -> None:
    with pytest.raises(ConfigError, match=r"host='\[::1\]' has the brackets of a URL; give the address alone, ::1\."):
        Options(host="[::1]")


def test_the_host_that_is_listened_on_may_be_named() -> None:
    assert "10.0.0.5" in listening.refuse_open_door(Options(host="10.0.0.5", token="of-ours")).hosts
    assert listening.refuse_open_door(Options(host="0.0.0.0", token="of-ours", hosts=("a",))).hosts == ("a",)


def test_a_port_in_use_is_refused_in_one_sentence() -> None:
    with contextlib.closing(listening.listen(Options(port=0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^port={port} of 127.0.0.1 is in use by another process; "):
            listening.listen(Options(port=port))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Options(host="no.such.host.invalid"), "is no address of this machine"),
        (Options(host="203.0.113.7"), "is no address of this machine"),  # another's (RFC 5737)
        (Options(host="a" * 70 + ".x"), "is no address of this machine"),  # a label too long for any name
        (Options(port=70_000), "is no port"),
        (Options(port=-1), "is no port"),
    ],
)
def test_an_unusable_address_is_refused_in_one_sentence(options: Options, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        listening.listen(options)


def test_a_port_that_is_not_allowed_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listening.socket, "socket", lambda *_: Refusing(bind))
    with pytest.raises(ConfigError, match=r"port=80 of 127.0.0.1 is not allowed to this user"):
        listening.listen(Options(port=80))


class Refusing:
    """A socket that cannot be bound: as root, every port can."""

    def __init__(self, bind: Callable[..., None]) -> None:
        self.bind = bind

    def setsockopt(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_its_address_is_said_so_that_it_can_be_opened(host: str) -> None:
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"missing part: {host} on this machine")
    with contextlib.closing(listening.listen(Options(host=host, port=0))) as opened:
        url = listening.url_of(opened)
        assert url == f"http://{f'[{host}]' if ':' in host else host}:{opened.getsockname()[1]}"


# --- a server for a while


def test_a_background_server_answers_inside_the_block_and_is_gone_after_it(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with launch.background(folder, version="7", name="sales-response") as endpoint:
        assert client.ask(endpoint.url, {"TV": [1.0, 2.5]}) == client.Answer([2.0, 5.0], None, None, "7")
        assert alive(endpoint.pid)
    assert not alive(endpoint.pid)
    assert not endpoint.log.exists()


def test_a_background_server_is_gone_after_an_exception_too(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with pytest.raises(KeyError), launch.background(folder) as endpoint:
        raise KeyError
    assert not alive(endpoint.pid)


def test_a_model_that_is_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    (folder / "extra.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"extra\.pkl .* is a pickle"), launch.background(folder):
        pass


def test_mlflows_own_server_that_does_not_come_up_is_said_with_its_last_line(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack, pytest.raises(DeploymentError, match="MLflow's server did not come up; the last"):
        stack.enter_context(launch.background(tmp_path, engine="mlflow"))


def test_mlflows_own_server_answers_alike_and_is_gone_after_it(tmp_path: Path) -> None:
    folder = stored(one_channel(), tmp_path)
    rows = {"TV": [0.7, 100.0, 296.4]}
    with launch.background(folder) as ours, launch.background(folder, engine="mlflow") as theirs:
        for level in (None, 0.9):
            found, expected = (client.ask(e.url, rows, level) for e in (ours, theirs))
            assert found.prediction == expected.prediction
            assert (found.lower, found.upper) == (expected.lower, expected.upper)
        family = [theirs.pid, *children(theirs.pid)]
    assert not any(map(alive, family))


def test_mlflows_own_server_in_the_foreground_ends_when_told(tmp_path: Path) -> None:
    folder, port = stored(one_channel(), tmp_path), free_port()
    code = f"""if True:
        import sys
        from adresponse.serving import launch, options
        sys.exit(launch.serve_mlflow({str(folder)!r}, options.Options(port={port})))
    """
    process = subprocess.Popen([sys.executable, "-c", code], env=environment(), stderr=subprocess.DEVNULL)
    try:
        until(lambda: launch._pings(port), "MLflow's server", 60)
        family = [c for child in children(process.pid) for c in (child, *children(child))]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        until(lambda: not any(map(alive, family)), "nobody is left")
    finally:
        process.kill()
        process.wait()


def test_mlflows_own_server_cannot_ask_for_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asks nobody for a token"):
        launch.serve_mlflow(tmp_path, Options(token="of-ours"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"beyond": "refuse"}, "does not know --beyond; leave it out, or use --engine adresponse"),
        ({"max_body": 5000}, "does not know --max-body; leave it out"),
        ({"max_waiting": 5}, "does not know --max-waiting; leave it out"),
        ({"log": "errors"}, "does not know --log; leave it out"),
        ({"hosts": (*Options().hosts, "scores.example.org")}, "does not know --allow-host; leave it out"),
        (
            {"beyond": "refuse", "max_body": 5000, "hosts": ("*",)},
            "does not know --beyond, --max-body and --allow-host; leave them out",
        ),
        ({"timeout": 0.5}, "counts whole seconds, not --timeout 0.5; give a whole number"),
    ],
)
def test_mlflows_own_server_is_asked_for_nothing_that_it_would_drop(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        launch.serve_mlflow(tmp_path, Options(**given))
    assert refused.value.exit_code == 2


def test_mlflows_own_server_follows_no_alias(tmp_path: Path) -> None:
    model = stored(one_channel(), tmp_path)
    with pytest.raises(ConfigError, match="does not know --poll; leave it out"):
        deployment.serve(str(model), engine="mlflow", poll=3.0)
    with pytest.raises(ConfigError, match="does not know --log and --poll; leave them out"):
        deployment.serve(str(model), engine="mlflow", poll=3.0, log="errors")


@pytest.mark.parametrize("host", ["0.0.0.0", "203.0.113.7", "127.0.0.1"])
def test_mlflows_own_server_takes_a_host_and_whole_seconds(tmp_path: Path, host: str) -> None:
    options = listening.refuse_open_door(Options(host=host, port=-1, timeout=7), allow_anyone=True)
    with pytest.raises(ConfigError, match=r"port=-1 is no port"):  # the next thing that is looked at
        launch.serve_mlflow(tmp_path, options)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0])
def test_seconds_that_no_clock_reaches_are_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"timeout=\S+ is no number of seconds above 0; give one such as 30"):
        Options(timeout=seconds)
    with pytest.raises(ConfigError, match=r"drain=\S+ is no number of seconds; give one such as 20, or 0"):
        Options(drain=seconds)
    with pytest.raises(ConfigError, match=r"poll=\S+ is no number of seconds; give one such as 2"):
        supervise.run(Pointed("nowhere"), Options(port=0), poll_seconds=seconds)


def test_no_time_at_all_is_no_timeout() -> None:
    with pytest.raises(ConfigError, match="timeout=0 is no number of seconds above 0"):
        Options(timeout=0.0)
    assert Options(drain=0.0).drain == 0


@pytest.mark.parametrize("name", ["scores.example.org:5001", "https://scores.example.org", "scores.example.org/"])
def test_a_host_with_its_port_is_refused_since_no_caller_would_ever_be_let_in_by_it(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is more than a name; give it without scheme, port and path"):
        Options(hosts=("127.0.0.1", name))
    Options(hosts=("*", "::1", "fe80::1", "scores.example.org"))


@pytest.mark.parametrize("option", ["--timeout", "--poll"])
def test_the_command_line_takes_no_such_seconds(option: str) -> None:
    command = [sys.executable, "-m", "adresponse", "serve", "models:/nobody@champion", option, "nan"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"{option[2:]}=nan is no number of seconds" in done.stderr
    assert "Traceback" not in done.stderr
