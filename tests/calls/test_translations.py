"""`connection-translation-*`: what stands in the INVITE that carrier B gets."""

from lib.sip_message import address_of, host_of, uri_of, user_of


def invite_seen(two, **parts):
    call = two.call(**parts)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return leg.invite


def test_without_translations_the_numbers_pass_and_the_hosts_are_ours_and_theirs(carriers):
    two = carriers()
    invite = invite_seen(two)
    assert user_of(invite.uri) == "13105550100"
    assert address_of(invite.uri) == (two.bob.host, two.bob.port) or host_of(invite.uri) == two.bob.host
    assert user_of(uri_of(invite.get("To"))) == "13105550100"
    assert host_of(uri_of(invite.get("To"))) == host_of(invite.uri)
    assert user_of(uri_of(invite.get("From"))) == "12125550111"
    assert host_of(uri_of(invite.get("From"))) == "127.0.0.1"


def test_each_translation_writes_its_own_part(carriers):
    two = carriers(
        b={
            "connection_translation_request_user": "+[*]",
            "connection_translation_request_host": "edge.carrier.example",
            "connection_translation_destination_user": "to-[*]",
            "connection_translation_destination_host": "to.carrier.example",
            "connection_translation_source_user": "+[*]",
            "connection_translation_source_host": "sip.us.example",
        }
    )
    invite = invite_seen(two)
    assert (user_of(invite.uri), host_of(invite.uri)) == ("+13105550100", "edge.carrier.example")
    to, sender = uri_of(invite.get("To")), uri_of(invite.get("From"))
    assert (user_of(to), host_of(to)) == ("to-13105550100", "to.carrier.example")
    assert (user_of(sender), host_of(sender)) == ("+12125550111", "sip.us.example")


def test_the_display_name_of_the_caller_passes(carriers):
    two = carriers()
    assert '"Ann Example"' in invite_seen(two, name="Ann Example").get("From")


def test_the_applications_address_as_source_host(carriers):
    two = carriers(b={"connection_translation_source_host": "<AppIP>"})
    assert host_of(uri_of(invite_seen(two).get("From"))) == "127.0.0.1"


def test_a_carriers_plus_is_dropped_on_the_way_in(carriers):
    two = carriers(a={"connection_is_carrier_trunk": "yes"})
    invite = invite_seen(two, number="+13105550100", from_uri=two.from_uri.replace("sip:1", "sip:+1"))
    assert user_of(invite.uri) == "13105550100"
    assert user_of(uri_of(invite.get("From"))) == "12125550111"
