"""Where the peers are that nobody here wrote, and why one is missing."""

import functools
import os
import pathlib
import shutil
import subprocess

import pytest

INSTALLER = "scripts/install-test-peers.sh"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "strowger-test-peers"


def program(name):
    """The path of a program of this Debian; without it the test fails, for its package is always to be had."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found, f"{name} is missing: {INSTALLER} installs it"
    return found


def _reason(name, otherwise):
    """What the installer said when it could not get this peer."""
    written = CACHE / f"{name}.reason"
    return written.read_text().strip() if written.exists() else otherwise


@functools.cache
def newer_debian(package):
    """The folder of the newer Debian with `package` in it; skips the test where there is none, with the reason."""
    folder = CACHE / "newer-debian"
    proof = subprocess.run(
        ["dpkg-query", f"--admindir={folder}/var/lib/dpkg", "-W", "-f", "${db:Status-Status}", package],
        capture_output=True, text=True,
    )  # fmt: skip
    if proof.stdout != "installed":
        pytest.skip(f"no {package}: " + _reason("newer-debian", f"{INSTALLER} has not been run"))
    if os.geteuid() != 0:
        pytest.skip(f"no {package}: only root can run programs in {folder}")
    return folder


@functools.cache
def pjsua2():
    """The folder for PYTHONPATH that has pjsua2; skips the test where there is none, with the reason."""
    folder = CACHE / "pjsua2"
    if not (folder / "installed.txt").exists():
        pytest.skip("no pjsua2: " + _reason("pjsua2", f"{INSTALLER} has not been run"))
    return folder


def stop(process, seconds=5):
    """Ends a process by hook or by crook; safe to call twice."""
    if process and process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)
