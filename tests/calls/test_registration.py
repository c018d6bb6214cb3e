"""Registrations: ours with carriers, and those of PBXs with us."""

import time
from datetime import datetime, timezone

import pytest

from lib import digest, sdp
from lib.kamailio import registrar
from lib.sip_message import uri_of
from lib.sipp import Sipp
from lib.switch import run
from lib.tenant import Tenant
from lib.waiting import wait_until

REGISTERED = "connection-sip-registration-datetime"
ENDS = "connection-sip-registration-expires-datetime"
OURS = {
    "connection_sip_authenticate_as_client_enabled": "yes",
    "connection_sip_registration_username": "trunk",
    "connection_sip_registration_password": "s3cret",
}
THEIRS = {
    "connection_is_carrier_trunk": "no",
    "connection_sip_registration_username": "acme",
    "connection_sip_registration_password": "s3cret",
}


def moment(text):
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()


def in_force(tenant, name):
    """The record, once it says that a registration is in force."""

    def shown():
        record = tenant.read(name)
        return record if record[ENDS] else None

    return wait_until(f"connection {name} is registered", shown, 5)


# -- we register with carriers -----------------------------------------------------------------------------------


def test_a_connection_registers_and_is_taken_back_on_delete(tenant, switch, ua):
    carrier = ua(user="carrier")
    tenant.connection("k", carrier.hostport, **OURS, connection_translation_request_host="reg.example.net",
                      connection_sip_registration_realm="carrier.example.net")  # fmt: skip
    asked = digest.challenge("carrier.example.net")
    first = carrier.answer_register(401, headers=[("WWW-Authenticate", asked)])
    assert first.uri == "sip:reg.example.net"
    assert uri_of(first.get("To")) == uri_of(first.get("From")) == "sip:trunk@carrier.example.net"
    assert uri_of(first.get("Contact")) == "sip:trunk@127.0.0.1:%d" % switch.sip_port
    assert first.get("Expires") == "3600"
    second = carrier.answer_register(200, headers=[("Expires", "1800")])
    assert digest.correct(second.get("Authorization"), "trunk", "s3cret", "REGISTER")
    assert second.call_id == first.call_id and second.cseq == first.cseq + 1

    record = in_force(tenant, "k")
    assert abs(moment(record[REGISTERED]) - time.time()) < 10
    assert abs(moment(record[ENDS]) - time.time() - 1800) < 10
    assert switch.metric("strowger_registrations", direction="outbound", state="registered") >= 1
    assert "s3cret" not in switch.log_text()

    tenant.api.delete(f"/domains/{tenant.domain}/connections/sip%2A%40{tenant.host('k')}")
    farewell = carrier.answer_register(200)
    assert farewell.get("Expires") == "0" and farewell.call_id == first.call_id


def test_a_change_of_the_flag_takes_the_registration_back(tenant, ua):
    carrier = ua(user="carrier")
    tenant.connection("k", carrier.hostport, **OURS)
    carrier.answer_register(200)
    in_force(tenant, "k")
    tenant.change("k", connection_sip_authenticate_as_client_enabled="no")
    assert carrier.answer_register(200).get("Expires") == "0"
    wait_until("nothing is in force", lambda: tenant.read("k")[ENDS] == "", 5)
    assert tenant.read("k")[REGISTERED], "the last success is still known"


def test_a_refused_registration_leaves_the_trunk_in_service(carriers):
    two = carriers(b=OURS)
    two.bob.answer_register(403)
    call = two.call()
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    failed = lambda: two.switch.metric("strowger_registrations", direction="outbound", state="failed")  # noqa: E731
    wait_until("the failure is counted", lambda: failed() >= 1)


def test_a_registrar_that_wants_longer_gets_it(tenant, ua):
    carrier = ua(user="carrier")
    tenant.connection("k", carrier.hostport, **OURS)
    carrier.answer_register(423, headers=[("Min-Expires", "7200")])
    assert carrier.answer_register(200).get("Expires") == "7200"
    record = in_force(tenant, "k")
    assert abs(moment(record[ENDS]) - time.time() - 7200) < 10
    tenant.change("k", connection_sip_authenticate_as_client_enabled="no")
    carrier.answer_register(200)


def test_a_clean_stop_takes_registrations_back(own_switch, ua):
    switch = own_switch()
    tenant, carrier = Tenant(switch), ua(user="carrier")
    tenant.connection("k", carrier.hostport, **OURS)
    carrier.answer_register(200)
    in_force(tenant, "k")
    switch.terminate()
    asked = digest.challenge("carrier")
    assert carrier.answer_register(401, headers=[("WWW-Authenticate", asked)]).get("Expires") == "0"
    farewell = carrier.answer_register(200)
    assert farewell.get("Expires") == "0" and digest.correct(farewell.get("Authorization"), "trunk", "s3cret", "REGISTER")
    assert switch.wait() == 0


def test_kamailio_takes_our_registration_and_sends_calls_there(tenant, switch, ua, tmp_path):
    carrier = registrar(tmp_path, "trunk", "s3cret").start()
    try:
        bob, alice = ua(user="bob"), ua(user="alice")
        tenant.connection("b", bob.hostport)
        tenant.connection("k", carrier.address, **OURS)
        tenant.rule("*", tenant.host("b"), user="13105550100")
        record = in_force(tenant, "k")
        assert abs(moment(record[ENDS]) - time.time() - 600) < 10, "what Kamailio granted, not what we asked for"
        caller = f"sip:12125550111@{tenant.host('k')}"
        called = f"sip:trunk@{carrier.address}"
        call = alice.invite((carrier.host, carrier.port), called, caller, sdp.audio("127.0.0.1", 4000))
        leg = bob.incoming()
        leg.reply(leg.invite, 200, sdp.audio("127.0.0.1", 5000))
        call.expect(200)
        call.ack()
        leg.expect("ACK")
        leg.request("BYE")
        call.expect_bye()

        tenant.change("k", connection_sip_authenticate_as_client_enabled="no")
        wait_until("nothing is in force", lambda: tenant.read("k")[ENDS] == "", 5)
        alice.invite((carrier.host, carrier.port), called, caller).expect(404)
    finally:
        carrier.stop()


# -- PBXs register with us ---------------------------------------------------------------------------------------


class Pbx:
    """A PBX that registers as connection `p`; alice's calls are sent to it."""

    def __init__(self, carriers, ua, transport="UDP", **fields):
        self.two = carriers(rule=False)
        self.tenant, self.switch = self.two.tenant, self.two.switch
        self.tenant.connection("p", "", **{**THEIRS, **fields})
        self.tenant.rule("*", self.tenant.host("p"))
        self.ua = ua(user="line1", transport=transport)
        self.aor = f"sip:acme@{self.tenant.host('p')}"

    def register(self, password="s3cret", **parts):
        return self.ua.register(self.two.door, self.aor, "acme", password, **parts)

    def reached(self):
        """A call by alice: the INVITE as the PBX sees it."""
        call = self.two.call()
        leg = self.ua.incoming()
        leg.reply(leg.invite, 486)
        leg.expect("ACK")
        call.expect(486)
        return leg.invite

    def not_reached(self):
        self.two.call().expect(404)


@pytest.fixture
def pbx(carriers, ua):
    return lambda transport="UDP", **fields: Pbx(carriers, ua, transport, **fields)


def test_a_peer_registers_and_gets_calls_until_it_takes_it_back(pbx):
    one = pbx()
    one.not_reached()
    before = one.register(password=None)
    assert before.status == 401
    realms = {digest.parse(value)["realm"] for value in before.all("WWW-Authenticate")}
    assert realms == {one.tenant.host("p")}
    answer = one.register()
    assert answer.status == 200
    assert answer.get("Contact") == f"{one.ua.contact};expires=3600"
    invite = one.reached()
    assert f"<{invite.uri}>" == one.ua.contact
    record = in_force(one.tenant, "p")
    assert abs(moment(record[REGISTERED]) - time.time()) < 10
    assert abs(moment(record[ENDS]) - time.time() - 3600) < 10
    assert one.switch.metric("strowger_registrations", direction="inbound", state="registered") >= 1

    assert one.register(headers=[("Expires", "0")]).get("Contact") is None
    one.not_reached()
    wait_until("nothing is in force", lambda: one.tenant.read("p")[ENDS] == "", 5)


def test_nobody_registers_without_the_password(pbx):
    one = pbx()
    assert [one.register(wrong=True).status for _ in range(3)] == [401, 401, 403]
    one.aor = "sip:acme@nobody-knows-this.example.net"
    assert one.register().status == 401, "who does not exist is asked for a password like everybody"
    one.not_reached()


def test_too_short_is_423_and_too_long_is_cut(pbx):
    one = pbx()
    short = one.register(headers=[("Expires", "10")])
    assert (short.status, short.get("Min-Expires")) == (423, "30")
    assert one.register(headers=[("Expires", "86400")]).get("Contact").endswith(";expires=3600")


def test_a_new_contact_takes_the_place_of_the_old(pbx, ua):
    one = pbx()
    one.register()
    one.ua = ua(user="line2")
    one.register()
    assert "line2" in one.reached().uri


def test_a_peer_on_tcp_is_called_on_its_stream_and_at_its_contact_after_that(pbx):
    one = pbx("TCP")
    assert one.register().status == 200
    stream = one.ua.streams[one.two.door]
    invite = one.reached()
    assert invite.channel is stream
    one.ua.selector.unregister(stream.sock)
    stream.sock.close()
    stream.closed = True
    flows = lambda: one.switch.metric("strowger_tcp_flows")  # noqa: E731
    wait_until("the stream is gone", lambda: flows() == 0, 5)
    invite = one.reached()
    assert invite.channel is not stream, "over a stream to the port it listens on"


def test_an_end_in_the_past_drops_the_registration(pbx):
    one = pbx()
    one.register()
    in_force(one.tenant, "p")
    one.tenant.change("p", connection_sip_registration_expires_datetime="2030-01-01 00:00:00")
    assert one.reached()
    shown = lambda: one.tenant.read("p")[ENDS]  # noqa: E731
    wait_until("the new end is shown", lambda: shown() == "2030-01-01 00:00:00", 5)
    one.tenant.change("p", connection_sip_registration_expires_datetime="2020-01-01 00:00:00")
    one.not_reached()
    assert shown() == ""


def test_the_registration_vouches_for_the_source_of_calls(pbx, ua):
    one = pbx(connection_source_ip_checking_enabled="yes")
    one.tenant.rule("sip:611@*", one.tenant.host("b"))
    caller = f"sip:12125550111@{one.tenant.host('p')}"

    def call_by(agent):
        return agent.invite(one.two.door, one.two.called("611"), caller)

    call_by(one.ua).expect(403)
    one.register()
    call = call_by(one.ua)
    leg = one.two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    call_by(ua("127.0.0.3")).expect(403)


def test_a_registration_survives_a_crash(own_switch, ua):
    switch = own_switch(name="crash")
    tenant, peer, alice = Tenant(switch), ua(user="line1"), ua(user="alice")
    tenant.connection("a", alice.hostport)
    tenant.connection("p", "", **THEIRS)
    tenant.rule("*", tenant.host("p"))
    aor = f"sip:acme@{tenant.host('p')}"
    assert peer.register(switch.sip_address(), aor, "acme", "s3cret").status == 200
    in_force(tenant, "p")
    switch.kill()
    again = own_switch(name="crash")
    call = alice.invite(again.sip_address(), "sip:1@sbc", f"sip:1@{tenant.host('a')}")
    leg = peer.incoming()
    assert f"<{leg.invite.uri}>" == peer.contact
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def test_every_shard_knows_where_a_peer_is(own_switch, ua):
    """A registration is held by the shard that the connection's key hashes to, a call by that of its tenant."""
    switch = own_switch("--shards", 3, "--api-requests-per-second", 0)
    tenant, alice = Tenant(switch), ua(user="alice")
    tenant.connection("a", alice.hostport)
    for name in ("p", "q", "r", "s", "t"):
        peer = ua(user=name)
        tenant.connection(name, "", **THEIRS)
        tenant.rule(f"sip:{name}@*", tenant.host(name))
        assert peer.register(switch.sip_address(), f"sip:acme@{tenant.host(name)}", "acme", "s3cret").status == 200
        in_force(tenant, name)
        call = alice.invite(switch.sip_address(), f"sip:{name}@sbc", f"sip:1@{tenant.host('a')}")
        leg = peer.incoming()
        leg.reply(leg.invite, 486)
        leg.expect("ACK")
        call.expect(486)
    counted = lambda: switch.metric("strowger_registrations", direction="inbound", state="registered")  # noqa: E731
    wait_until("all are counted once", lambda: counted() == 5)


def test_explain_says_where_a_registered_peer_is_or_that_there_is_none(pbx):
    one = pbx()

    def explained():
        caller, called = one.two.from_uri, one.two.called()
        printed = run("explain", "--from", caller, "--to", called, "--data", one.switch.data).stdout
        return " ".join(printed.split())

    assert "its peer is not registered" in explained()
    one.register()
    in_force(one.tenant, "p")
    told = explained()
    assert f"registered from {one.ua.hostport}" in told and one.ua.contact.strip("<>") in told


# -- what the API tells ------------------------------------------------------------------------------------------


def test_a_registration_that_is_refused_and_then_taken_shows(own_switch, tmp_path):
    switch = own_switch("--shards", 2)
    tenant = Tenant(switch)
    registrar = Sipp(tmp_path, "registrar_refuses_first").start()
    try:
        tenant.connection("k", registrar.address, **OURS)
        refused = tenant.once("k", registration_outbound_state="failed")
        assert refused["registration-outbound-last-status"] == 503
        assert refused["registration-outbound-last-reason"] == "Not Before Noon"
        assert refused["registration-outbound-failures-count"] == 1
        assert refused["registration-outbound-expires-datetime"] is None
        last = moment(refused["registration-outbound-last-datetime"])
        following = moment(refused["registration-outbound-next-datetime"])
        assert 23 <= following - last <= 37, refused

        taken = tenant.once("k", 45, registration_outbound_state="registered")
        assert taken["registration-outbound-last-status"] == 200
        assert taken["registration-outbound-last-reason"] == "Good Day"
        assert taken["registration-outbound-failures-count"] == 0
        assert moment(taken["registration-outbound-last-datetime"]) >= following - 1
        ends = moment(taken["registration-outbound-expires-datetime"])
        assert 1700 < ends - time.time() <= 1800
        assert time.time() < moment(taken["registration-outbound-next-datetime"]) < ends
        registrar.finish()
    finally:
        registrar.stop()


def test_where_a_peer_registered_from_shows_also_after_a_crash(own_switch, ua):
    switch = own_switch("--shards", 2, name="states")
    tenant, pbx = Tenant(switch), ua(user="acme")
    tenant.connection("p", **THEIRS)
    assert tenant.state("p")["registration-inbound-state"] == "none"
    aor = f"sip:acme@{tenant.host('p')}"
    assert pbx.register(switch.sip_address(), aor, "acme", "s3cret", contact=pbx.contact).status == 200
    expected = {
        "registration_inbound_state": "registered",
        "registration_inbound_source": pbx.hostport,
        "registration_inbound_transport": "UDP",
        "registration_outbound_state": "none",
    }
    state = tenant.once("p", **expected)
    assert pbx.hostport in state["registration-inbound-contact"]
    ends = state["registration-inbound-expires-datetime"]
    assert 3500 < moment(ends) - time.time() <= 3600
    wait_until("it is stored", lambda: tenant.read("p")["connection-sip-registration-expires-datetime"] == ends)
    switch.kill()
    own_switch("--shards", 2, name="states", http_port=switch.http_port, sip_port=switch.sip_port)
    again = tenant.once("p", **expected)
    assert again["registration-inbound-expires-datetime"] == ends
