"""The test tools against themselves: two agents without a switch between them."""

from . import digest, rtp, sdp
from .sip_ua import Ua


def run_call(transport, host="127.0.0.1"):
    alice, bob = Ua(host, transport, user="alice"), Ua(host, transport, user="bob")
    call = alice.invite((bob.host, bob.port), to=f"sip:1000@{bob.hostport}", body=sdp.audio(host, 4000))
    leg = bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)
    leg.reply(leg.invite, 200, sdp.audio(host, 5000))
    assert sdp.Sdp(call.expect(200).body).rtp == (host, 5000)
    call.ack()
    leg.expect("ACK")
    leg.reinvite(sdp.audio(host, 5000, direction="sendonly", version=2))
    again = call.expect("INVITE")
    assert sdp.Sdp(again.body).direction == "sendonly"
    call.reply(again, 200, sdp.audio(host, 4000, direction="recvonly"))
    leg.expect(200)
    leg.ack()
    call.expect("ACK")
    bye = call.request("BYE")
    leg.expect_bye()
    assert alice.response_to(bye).status == 200
    alice.close()
    bob.close()


def test_two_agents_talk_over_udp():
    run_call("UDP")


def test_two_agents_talk_over_tcp():
    run_call("TCP")


def test_two_agents_talk_over_ipv6():
    run_call("UDP", "::1")


def test_digest_answers_are_correct_for_both_algorithms():
    for algorithm in digest.HASHES:
        asked = digest.challenge("realm.example", algorithm)
        value = digest.answer(asked, "u", "p", "INVITE", "sip:1@example")
        assert digest.correct(value, "u", "p", "INVITE")
        assert not digest.correct(value, "u", "wrong", "INVITE")


def test_two_rtp_ports_hear_each_other():
    one, two = rtp.Port(voice=1), rtp.Port(voice=2)
    rtp.talk([(one, (two.host, two.port)), (two, (one.host, one.port))], packets=5)
    assert two.heard(one) == 5 and one.heard(two) == 5
    one.close()
    two.close()
