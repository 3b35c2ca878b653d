"""What is printed arrives as plain text, whatever the stream; a stream that breaks ends no run."""

import errno
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from superjax import sweep
from superjax.spec import sweep_files
from superjax.system import interrupt, terminal

SMALL = """
n_features = 2
n_hidden = 1
restarts = 2
train.steps = 10
[axes.density]
field = "data.density"
values = [0.1, 1.0]
"""


class Failing(io.StringIO):
    def __init__(self, error: BaseException):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream",
    [None, closed(), Failing(BrokenPipeError(errno.EPIPE, "")), Failing(OSError(errno.EIO, "")), io.StringIO()],
    ids=["none", "closed", "no reader", "hung up", "replaced"],
)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_is_gone_is_no_error(stream, name, monkeypatch):
    monkeypatch.setattr(sys, name, stream)
    assert sweep.main(["--list"]) == 0 and sweep.main(["nowhere"]) == 2 and sweep.main(["--help"]) == 0
    with terminal.telling(), terminal.bar("case", 3) as tell:
        tell(1.5)
    terminal.warn("a warning")
    terminal.end()


def test_a_full_disk_behind_the_output_is_said(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    for argument in ("--list", "--help", "--version"):
        assert sweep.main([argument]) == 1
        assert capsys.readouterr().err == "superjax: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_a_stream_lacks_are_replaced(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw := io.BytesIO(), encoding=encoding))
    terminal.say("über → 猫 \ud800")
    assert raw.getvalue().decode(encoding).startswith("über" if encoding != "ascii" else "\\xfcber")
    assert raw.getvalue().decode(encoding).endswith(" \\ud800\n")


@pytest.mark.parametrize(
    "control", ["\x1b[31m", "\x07", "\r", "\x00", "\x7f", "\x9b", "\u202e", "\u2028", "\u200b", "\ufeff", "\t"]
)
def test_control_characters_are_shown_and_not_obeyed(control, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ([f"a{control}b"], ["phase_diagram", f"train.st{control}eps=3"], ["--out", control, "nowhere"]):
        assert sweep.main(arguments) == 2
    terminal.say(f"file {control} of a run")
    terminal.warn(f"exception {control}")
    said = "".join(capsys.readouterr())
    assert control not in said and all(c.isprintable() or c == "\n" for c in said)


def test_a_message_has_six_lines_and_long_ones_lose_their_middle(capsys):
    terminal.fail("\n".join(f"line {i}" for i in range(20)))
    assert capsys.readouterr().err.count("\n") == 6
    terminal.fail("x" * 10**6 + ": why")
    said = capsys.readouterr().err
    assert len(said) < 1000 and said.endswith("xxx: why\n")
    terminal.fail("file\nsuperjax: all is well")
    assert capsys.readouterr().err == "superjax: file\n  superjax: all is well\n"


def test_what_takes_long_is_named_on_a_log_and_what_is_quick_is_not(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_PATIENCE", 0.1)
    with terminal.doing("in silence"):
        time.sleep(0.2)
    with terminal.telling():
        with terminal.doing("quick"):
            pass
        with terminal.doing("searching"):
            time.sleep(0.3)
    assert capsys.readouterr().err == "searching (0 s so far)\n"


@pytest.mark.parametrize("error", [None, KeyError])
def test_what_takes_long_is_shown_on_the_last_line_of_a_terminal_and_cleared(error, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "_PATIENCE", 0.05)
    with suppress(KeyError), terminal.telling(), terminal.doing("searching"):
        time.sleep(0.2)
        if error:
            raise error
    shown = screen.getvalue()
    assert "\rsearching, 0 s" in shown and shown.endswith("\r" + " " * len("searching, 0 s") + "\r")
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal._is_watched()


@pytest.mark.parametrize("columns", ["0", "1", "7", "nonsense", "500"])
def test_a_bar_fits_any_terminal(columns, monkeypatch):
    screen = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.telling(), terminal.bar("über\x1b", 1000) as tell:
        tell(400.0)
        tell(600.0)
    assert b"100%" in raw.getvalue() and b"\x1b" not in raw.getvalue()


@pytest.mark.heavy
def test_the_command_line_runs_in_any_thread_twice_and_leaves_signals_alone(tmp_path, monkeypatch, capsys, two_devices):
    """In this process JAX has been used already, with two devices."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL)
    before = [signal.getsignal(number) for number in interrupt._SIGNALS]
    assert sweep.main(["small.toml"]) == 0 and sweep.main(["small.toml", "--figures-only"]) == 0
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(sweep.main(["small.toml", "--out", "other"])))
    thread.start()
    thread.join()
    assert statuses == [0] and "4 models trained" in capsys.readouterr().out
    assert [signal.getsignal(number) for number in interrupt._SIGNALS] == before


def test_a_thread_neither_takes_nor_obeys_the_signals_of_the_main_one():
    done = []

    def elsewhere() -> None:
        with interrupt.installed(), interrupt.deferred():
            interrupt.check()
        done.append(True)

    with interrupt.installed(), pytest.raises(interrupt.Interrupted):
        with interrupt.deferred():
            signal.raise_signal(signal.SIGTERM)
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            assert done and interrupt.pending()
    interrupt.caught()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_obeyed_once_and_its_handlers_come_back(number, monkeypatch, capsys):
    def interrupted(*_):
        signal.raise_signal(number)

    alarm, hook = signal.getsignal(signal.SIGALRM), sys.unraisablehook
    monkeypatch.setattr(sweep_files, "read", interrupted)
    before = signal.getsignal(number)
    for _ in range(2):
        assert sweep.main(["small.toml"]) == 128 + number
        assert "\nsuperjax: interrupted; what was trained is kept. Resume with\n  python" in capsys.readouterr().err
    assert signal.getsignal(number) == before
    assert signal.getsignal(signal.SIGALRM) == alarm and sys.unraisablehook == hook


@pytest.mark.heavy
def test_a_broken_pipe_loses_nothing_and_closed_streams_are_no_files(tmp_path):
    """Two processes: one whose reader has gone, one without any of the three streams."""
    (tmp_path / "small.toml").write_text(SMALL)
    run = f"{sys.executable} -m superjax.sweep small.toml"
    script = f"{run} --out a | true; s=${{PIPESTATUS[0]}}; {run} --out b <&- >&- 2>&-; exit $((s + $?))"
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(line.endswith("s so far)") for line in result.stderr.splitlines()), result.stderr  # on a busy machine
    for out in "ab":
        names = {path.name for path in (tmp_path / out / "small").iterdir()}
        assert names == {"small.nc", "small.png", "claims.json", "manifest.json", "sweep.toml"}


def test_a_terminal_that_closes_ends_the_run_with_129(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "superjax.sweep", "small.toml", "train.steps=2000000"],
        cwd=tmp_path, stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while b"models/s]" not in seen:
        seen += os.read(leader, 1000)
    os.close(leader)  # its window is closed
    assert process.wait(60) == 129


def test_stray_files_in_the_current_folder_are_not_run(tmp_path):
    for name in ("json", "numpy", "jax", "typing", "pydantic", "dataclasses", "superjax_sweep"):
        (tmp_path / f"{name}.py").write_text(f"print('{name} of the current folder')")
    command = [sys.executable, "-m", "superjax.sweep", "--list"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert listed.returncode == 0 and "phase_diagram" in listed.stdout and "current folder" not in listed.stdout
