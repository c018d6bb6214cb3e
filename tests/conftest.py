"""Fixtures of the scenarios. One switch serves all tests that need nothing special; each test has its own domain."""

import itertools
import shutil

import pytest

from lib.rtp import Port
from lib.sip_ua import Ua
from lib.sipp import SippPair
from lib.switch import Switch
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


@pytest.fixture(scope="session")
def switch(tmp_path_factory, request):
    """The switch that most tests share: IPv4 and IPv6 loopback, no request limit in the way.

    When all of them passed, none of their calls, relays, ports or transactions may be left.
    """
    one = Switch(
        tmp_path_factory.mktemp("shared") / "data",
        sip=("127.0.0.1", "::1"),
        rtp_ports=800,
        options=("--api-requests-per-second", 0, "--port-quiet-seconds", 1, "--drain-seconds", 1),
    ).start()
    yield one
    try:
        if not request.session.testsfailed:
            one.assert_nothing_left()
    finally:
        one.stop()


@pytest.fixture
def own_switch(tmp_path):
    """A factory of switches for one test: own_switch("--media-timeout-seconds", 2). They are stopped at its end."""
    made, numbers = [], itertools.count()

    def make(*options, start=True, name=None, **more):
        one = Switch(tmp_path / (name or f"data{next(numbers)}"), options=options, **more)
        made.append(one)
        return one.start() if start else one

    yield make
    for one in made:
        one.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Lets a fixture know whether its test passed."""
    outcome = yield
    if call.when == "call":
        item.passed = outcome.get_result().passed


@pytest.fixture
def tenant(switch, request):
    """A domain of the test's own. A test that passed must have left no call on its connections."""
    one = Tenant(switch)
    yield one
    if getattr(request.node, "passed", False):
        wait_until("the test's calls are over on the switch", lambda: one.active_calls() == 0)
    one.remove()


@pytest.fixture
def carriers(tenant):
    """A factory: carriers() or carriers(bob=("::1", "TCP"), a={…}); see lib.tenant.Carriers."""
    made = []

    def make(**more):
        made.append(Carriers(tenant, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sipp(tenant, tmp_path):
    """SIPp as carrier A and carrier B."""
    for program in ("sipp",):
        assert shutil.which(program), f"{program} is missing: scripts/install-test-peers.sh installs it"
    pair = SippPair(tenant, tmp_path)
    yield pair
    pair.stop()


@pytest.fixture
def ua():
    """A factory of user agents that belong to no connection."""
    made = []

    def make(*arguments, **more):
        made.append(Ua(*arguments, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def rtp():
    """A factory of RTP ports: rtp(voice=0x11)."""
    made = []

    def make(*arguments, **more):
        made.append(Port(*arguments, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
