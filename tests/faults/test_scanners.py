"""Who goes through names and passwords: finds nothing, and is not answered after a while."""

import selectors
import shutil
import socket
import subprocess

import pytest

from lib import digest, metrics
from lib.sip_ua import Stream, Ua
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until

SECRET = {
    "connection_sip_registration_username": "pbx", "connection_sip_registration_password": "right-1!",
    "connection_require_sip_authentication_enabled": "yes",
}  # fmt: skip
# Loopback addresses that no record names.
ATTACKER, OTHER = "127.0.0.66", "127.0.0.67"


@pytest.fixture
def guarded(own_switch):
    """A switch that ignores early and not for long, and a PBX with a password on it."""
    switch = own_switch("--ignore-after-failures", 6, "--ignore-seconds", 3)
    tenant = Tenant(switch)
    tenant.connection("pbx", **SECRET)
    return tenant


def aor(tenant, name="pbx"):
    return f"sip:pbx@{tenant.host(name)}"


def wrong(ua, tenant, aor_uri, call_id):
    """The statuses of one attempt with a wrong password."""
    door = tenant.switch.sip_address()
    uri = f"sip:{door[0]}:{door[1]}"
    first = ua.ask(door, "REGISTER", uri, from_uri=aor_uri, to_uri=aor_uri, call_id=call_id)
    if first.status != 401:
        return [first.status]
    proof = digest.answer(first.get("WWW-Authenticate"), "pbx", "guess", "REGISTER", uri)
    second = ua.ask(door, "REGISTER", uri, from_uri=aor_uri, to_uri=aor_uri, call_id=call_id, cseq=2,
                    headers=[("Authorization", proof)])  # fmt: skip
    return [first.status, second.status]


def silent(ua, tenant, aor_uri=None):
    """Whether a REGISTER from there gets no answer."""
    door = tenant.switch.sip_address()
    aor_uri = aor_uri or aor(tenant)
    request = ua.send(ua.build("REGISTER", f"sip:{door[0]}:{door[1]}", from_uri=aor_uri, to_uri=aor_uri), door)
    before = tenant.switch.metric("strowger_messages_ignored_total")
    ua._collect(0.2)
    answered = any(message.branch == request.branch for message in ua.inbox)
    return not answered and tenant.switch.metric("strowger_messages_ignored_total") >= before


def test_a_name_that_exists_and_one_that_does_not_get_the_same_answers(guarded, ua):
    """Header by header, but for what is random or the name itself."""
    shapes = []
    for name in ("pbx", "nobody"):
        agent = ua(OTHER if name == "pbx" else ATTACKER)
        door, host = guarded.switch.sip_address(), guarded.host(name)
        uri = f"sip:{door[0]}:{door[1]}"
        shape = []
        for attempt in range(3):
            parts = {"from_uri": f"sip:pbx@{host}", "to_uri": f"sip:pbx@{host}", "call_id": f"guess-{name}"}
            headers = []
            if attempt:
                headers = [("Authorization", digest.answer(asked, "pbx", f"guess{attempt}", "REGISTER", uri))]  # noqa: F821
            answer = agent.ask(door, "REGISTER", uri, cseq=attempt + 1, headers=headers, **parts)
            asked = answer.get("WWW-Authenticate")
            given = [digest.parse(value) for value in answer.all("WWW-Authenticate")]
            assert all(one["realm"] == host for one in given)
            shape.append((answer.status, [name for name, _ in answer.headers],
                          [sorted(one) + [one.get("algorithm"), len(one["nonce"])] for one in given]))  # fmt: skip
        shapes.append(shape)
    assert shapes[0] == shapes[1]


def test_wrong_passwords_are_ignored_after_a_while_and_for_a_while(guarded, ua):
    attacker, switch = ua(ATTACKER), guarded.switch
    # A new Call-ID each time, as a program would: six in a row.
    for number in range(6):
        assert wrong(attacker, guarded, aor(guarded), f"crack-{number}") == [401, 401], number
    assert silent(attacker, guarded), "the next one gets no answer"
    assert silent(ua(ATTACKER), guarded), "nor from another port"
    wait_until("the gauge rises", lambda: switch.metric("strowger_sources_ignored") == 1)
    assert switch.metric("strowger_sip_strangers_total") == 6
    # Others are none the wiser, and the PBX comes in from where it is.
    assert ua(OTHER).register(switch.sip_address(), aor(guarded), "pbx", "right-1!").status == 200
    said = [line for line in switch.log_text().splitlines() if "is ignored" in line]
    assert len(said) == 1 and ATTACKER in said[0], said
    assert "guess" not in switch.log_text()
    # Three seconds later it is heard again, and the second time is twice as long.
    wait_until("it is answered again", lambda: not silent(attacker, guarded), 10, every=0.2)
    for number in range(6):
        wrong(attacker, guarded, aor(guarded), f"again-{number}")
    wait_until("the second line", lambda: switch.log_text().count("is ignored") == 2)
    assert "seconds=6" in [line for line in switch.log_text().splitlines() if "is ignored" in line][1]


def test_who_succeeds_in_between_is_never_ignored(guarded, ua):
    agent, door = ua(OTHER), guarded.switch.sip_address()
    for number in range(5):
        for again in range(4):
            wrong(agent, guarded, aor(guarded), f"lame-phone-{number}-{again}")
        assert agent.register(door, aor(guarded), "pbx", "right-1!").status == 200
    assert guarded.switch.metric("strowger_sources_ignored") == 0


def test_a_registered_address_is_never_ignored(guarded, ua):
    """Behind one address there may be a PBX and somebody who means ill; or somebody forges it."""
    agent, door = ua(OTHER), guarded.switch.sip_address()
    assert agent.register(door, aor(guarded), "pbx", "right-1!").status == 200
    for number in range(20):
        assert wrong(ua(OTHER), guarded, aor(guarded), f"insider-{number}")[0] == 401
    assert not silent(ua(OTHER), guarded)


def test_datagrams_never_shut_out_streams(guarded, ua):
    for number in range(6):
        wrong(ua(ATTACKER), guarded, aor(guarded), f"forged-{number}")
    assert silent(ua(ATTACKER), guarded)
    over_tcp = ua(ATTACKER, "TCP")
    over_tcp.streams[guarded.switch.sip_address()] = stream_from(over_tcp, guarded.switch.sip_address())
    assert wrong(over_tcp, guarded, aor(guarded), "tcp") == [401, 401]


def stream_from(agent, door):
    """A stream from the agent's own address, which need not be the one the system would choose."""
    stream = Stream(socket.create_connection(door, timeout=5, source_address=(agent.host, 0)))
    agent.selector.register(stream.sock, selectors.EVENT_READ, stream)
    return stream


def test_names_tried_with_invites_are_ignored_too_and_calls_that_are_up_go_on(guarded, ua):
    """A source whose call is up tries names: its call can still be ended, but it begins no other."""
    two = Carriers(guarded)
    caller = Ua(ATTACKER, user="caller")
    call = caller.invite(two.door, two.called(), from_uri=two.from_uri)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 200)
    call.expect(200)
    call.ack()
    leg.expect("ACK")
    for number in range(6):
        caller.invite(two.door, two.called(), from_uri=f"sip:{number}@nobody{number}.example").expect(403)
    assert silent(caller, guarded)
    bye = call.request("BYE")
    leg.expect_bye()
    assert caller.response_to(bye).status == 200
    two.close()
    caller.close()


def test_an_address_that_becomes_a_peers_is_heard_at_once(guarded, ua):
    attacker = ua(ATTACKER)
    for number in range(6):
        wrong(attacker, guarded, aor(guarded), f"misconfigured-{number}")
    assert silent(attacker, guarded)
    guarded.connection("new", address=f"{ATTACKER}:5060")
    assert not silent(attacker, guarded)


def sipvicious(program, *arguments, seconds=4):
    """What the program printed until it ended or we had seen enough: who is not answered waits for long."""
    found = next((path for name in (f"sipvicious_{program}", program) if (path := shutil.which(name))), None)
    assert found, f"{program} is missing: scripts/install-test-peers.sh installs it"
    command = ["timeout", str(seconds), found, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/tmp")
    return done.stdout + done.stderr


def test_sipvicious_finds_no_name_and_no_password(guarded, tmp_path):
    """svmap sees that something speaks SIP and not what; svwar and svcrack come home with nothing."""
    switch, (host, port) = guarded.switch, guarded.switch.sip_address()
    # A name that stands at the very host that is scanned: the one a scanner could hope to find.
    guarded.api.create("/connections", {
        "domain": guarded.domain, "connection-orig-match-pattern": f"sip:1007@{host}", "dial-plan": "calls",
        **{name.replace("_", "-"): value for name, value in SECRET.items()},
    })  # fmt: skip
    seen = sipvicious("svmap", host, "-p", port)
    assert "Strowger" not in seen and "strowger" not in seen.lower(), seen
    words = tmp_path / "words"
    words.write_text("\n".join(f"guess{number}" for number in range(300)) + "\nright-1!\n")
    found = sipvicious("svwar", "-e1000-1015", "-p", port, "--force", host)
    assert "1007" not in found, found
    found = sipvicious("svcrack", "-u", "1007", "-d", words, "-p", port, host)
    assert "right-1!" not in found, found
    assert metrics.total(switch.metrics(), "strowger_panics_total") == 0
