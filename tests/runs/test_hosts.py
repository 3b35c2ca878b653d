"""What `--distributed` is given is checked before JAX, which would end the process without a word from Python."""

import socket
import sys

import jax
import pytest

from superjax import sweep
from superjax.runs import hosts
from superjax.spec import SweepError


@pytest.fixture(autouse=True)
def never_joined(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda **_: pytest.fail("JAX joins"))


@pytest.mark.parametrize(
    "where",
    [
        "here", "localhost", "localhost,2,0", "localhost:,2,0", ":1234,2,0", "localhost:0,2,0", "localhost:65536,2,0",
        "localhost:1234,0,0", "localhost:1234,2,2", "localhost:1234,2,-1", "localhost:1234,-2,0", "localhost:1234,2",
        "localhost:1234,99999999999999999999,0", "localhost:1234,2,99999999999999999999", "localhost:1234,2,1.0",
        "::1:1234,2,0", "[::1:1234,2,0", "a b:1234,2,0", "localhost:\uff11\uff12,2,0", "localhost:1234,2,0,", "AUTO",
    ],
)  # fmt: skip
def test_what_is_no_host_port_processes_process_is_refused(where, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text("n_features = 2\nn_hidden = 1\n")
    assert sweep.main(["small.toml", f"--distributed={where}"]) == 2
    said = capsys.readouterr().err
    assert "must be auto or HOST:PORT,PROCESSES,PROCESS" in said and said.count("\n") <= 6


@pytest.mark.parametrize(
    "where", ["localhost:1234,1,0", "[::1]:1234,3,2", "10.0.0.1:65535,65536,7", "sweep-0.sweep:1,2,1"]
)
def test_what_is_one_is_taken(where):
    assert ",".join(map(str, hosts._parsed(where))).replace(",", ":", 1) == where


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_in_use_is_refused_by_the_first_process(family):
    with socket.socket(family) as taken:
        try:
            taken.bind(("", 0))
        except OSError:
            pytest.skip("no such network here")
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SweepError, match=f"port {port} cannot be used here: Address already in use"):
            hosts.join(f"localhost:{port},2,0")
    hosts._try_port("again", port)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seen on Linux alone")
def test_a_second_process_of_one_number_is_refused():
    hosts._claim("where", "localhost:1234,1")
    with pytest.raises(SweepError, match="another process here has that number"):
        hosts.join("localhost:1234,2,1")
    hosts._claimed.close()  # that process is over
    hosts._claim("where", "localhost:1234,1")
    hosts._claimed.close()


def test_what_jax_cannot_find_is_said(monkeypatch):
    def lost(**_):
        raise KeyError("SLURM_JOB_ID")

    monkeypatch.setattr(jax.distributed, "initialize", lost)
    with pytest.raises(SweepError, match=r"(?s)--distributed auto: 'SLURM_JOB_ID'.*else HOST:PORT"):
        hosts.join("auto")
