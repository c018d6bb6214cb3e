"""docs/interoperation.md and this folder tell of the same scenarios; versions that moved are pointed out."""

import pathlib
import re
import subprocess
import warnings

from lib.switch import ROOT

HERE = pathlib.Path(__file__).parent
DOCUMENT = (ROOT / "docs" / "interoperation.md").read_text()
PACKAGES = {
    "Asterisk": "asterisk", "Kamailio": "kamailio", "rtpengine": "rtpengine-daemon", "baresip": "baresip-core",
    "PJSIP": "pjsua2-python", "SIPp": "sip-tester",
}  # fmt: skip


def rows():
    """Peer to version, as the table has them."""
    return dict(re.findall(r"^\| \[(\w+)\]\(#\w+\) \| ([\d.]+) \|", DOCUMENT, re.MULTILINE))


def test_each_scenario_stands_in_the_document():
    for path in HERE.glob("test_*.py"):
        assert path.name in DOCUMENT or path.name == "test_document.py", f"{path.name} is missing in the table"
    for name in re.findall(r"`(test_\w+\.py)`", DOCUMENT):
        assert (HERE / name).exists() or (ROOT / "tests/calls" / name).exists(), f"{name} does not exist"


def test_the_versions_of_the_document_are_those_of_this_machine():
    """Another version is no failure, but a reason to look at the document; the summary of the run shows it."""
    assert set(rows()) == set(PACKAGES)
    printed = subprocess.run(
        [ROOT / "scripts/install-test-peers.sh", "--versions"], capture_output=True, text=True, check=True
    ).stdout
    installed = dict(reversed(line.split()[:2]) for line in reversed(printed.splitlines()))
    found = {package: version for version, package in installed.items()}
    for peer, version in rows().items():
        here = re.sub(r"^\d+:", "", found.get(PACKAGES[peer], "none"))
        if not here.startswith(version):
            warnings.warn(f"{peer} here is {here}, docs/interoperation.md says {version}", stacklevel=1)
