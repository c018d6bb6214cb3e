"""Headers are rebuilt, not copied: what passes, what never does."""


def seen(two, headers):
    call = two.call(headers=headers)
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    return leg.invite


def test_an_unknown_end_to_end_header_passes(carriers):
    two = carriers()
    assert seen(two, [("X-Account", "42")]).get("X-Account") == "42"


def test_routing_and_neighbour_headers_do_not_pass(carriers):
    two = carriers()
    invite = seen(
        two,
        [("Record-Route", "<sip:192.0.2.5;lr>"), ("Proxy-Authorization", "Digest username=x"), ("Path", "<sip:1@x>")],
    )
    for name in ("Record-Route", "Route", "Proxy-Authorization", "Path"):
        assert invite.get(name) is None, name


def test_max_forwards_shrinks(carriers):
    two = carriers()
    assert int(seen(two, []).get("Max-Forwards")) < 70


def test_our_software_is_hidden_by_default(carriers):
    two = carriers()
    invite = seen(two, [("User-Agent", "Callers Secret PBX")])
    assert invite.get("User-Agent") is None and invite.get("Server") is None


def test_our_software_shows_itself_where_asked(carriers):
    two = carriers(b={"connection_include_server_header_enabled": "yes"})
    assert "strowger" in seen(two, []).get("User-Agent", "").lower()
