"""The first steps as the documents tell them, typed into a shell word by word (other ports, fewer calls)."""

import os
import re
import signal
import subprocess

import pytest

from lib.ports import free_port
from lib.switch import ROOT, binary, clean_environment
from lib.waiting import wait_until

CALLS = 20


def commands(document, switch):
    """The shell blocks after the one that starts the switch, with this test's ports in them."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (start,) = (number for number, block in enumerate(blocks) if "strowger serve" in block)
    script = "\n".join(blocks[start + 1 :])
    callee = free_port()
    # A person is slower than a shell: SIPp's callee keeps its port for four seconds after its last call.
    is_bound = f"grep -q ':{callee:04X} ' /proc/net/udp"
    script = re.sub(r"^sipp -sn uas", f"while {is_bound}; do sleep 0.1; done\n\\g<0>", script, flags=re.MULTILINE)
    # In the background it may take longer to begin than a person takes to type the next line.
    script = re.sub(r"^(sipp -sn uas.*)$", f"\\1\nuntil {is_bound}; do sleep 0.1; done", script, flags=re.MULTILINE)
    for there, here in (
        (r"127\.0\.0\.1:8080", f"127.0.0.1:{switch.http_port}"),
        (r"127\.0\.0\.1:5060", f"127.0.0.1:{switch.sip_port}"),
        (r"\b5070\b", str(callee)),
        (r"\b5080\b", str(free_port())),
        (r"-m 1000?\b", f"-m {CALLS}"),
        (r"cdr tail *(#.*)?$", "cdr tail --no-follow"),
    ):
        script = re.sub(there, here, script, flags=re.MULTILINE)
    return script


@pytest.mark.parametrize("document", ["README.md", "docs/getting-started.md"])
def test_first_steps(own_switch, tmp_path, document):
    switch = own_switch(name="data", rtp_ports=2000)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    # A switch that was just installed: the program is on the PATH.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "strowger").symlink_to(binary().resolve())
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    script = commands(document, switch)
    result = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=clean_environment({"PATH": path, "TERM": "xterm"}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=120,
    )  # fmt: skip
    try:
        made = re.findall(r'"code": ?(\d+)', result.stdout)
        assert not [code for code in made if int(code) >= 400], result.stdout[-3000:]
        # Each callee is told how many calls to take.
        calls = sum(map(int, re.findall(r"^sipp -sn uas .*-m (\d+)", script, re.MULTILINE)))
        records = wait_until("all records", lambda: len(all_ := switch.cdrs()) >= calls and all_)
        assert all(record["answered_ms"] for record in records), f"{records[-1]}\n{result.stdout[-4000:]}"
        assert result.returncode == 0, result.stdout[-3000:]
        if "with_audio" in script:
            assert records[-1]["media"]["from_term"]["packets"] > 100, "the echo came back"
    finally:
        for pid in re.findall(r"PID=\[(\d+)\]", result.stdout):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
