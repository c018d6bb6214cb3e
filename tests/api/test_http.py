"""HTTP manners: methods, media types, sizes, rates."""

import http.client

from lib.api import quoted
from lib.tenant import Tenant


def test_a_path_that_is_not_there(switch):
    answer = switch.api.get("/no/such/thing")
    assert answer.status == 404 and answer.json["code"] == 404


def test_a_method_that_is_not_there(switch):
    answer = switch.api.request("PATCH", "/connections", {})
    assert answer.status == 405
    assert {"GET", "POST"} <= {word.strip() for word in answer.headers["Allow"].split(",")}
    assert answer.json["code"] == 405


def test_a_media_type_we_do_not_read(switch):
    answer = switch.api.request("POST", "/connections", raw=b"<a/>", headers={"Content-Type": "text/xml"})
    assert answer.status == 415 and answer.json["code"] == 415


def test_a_body_too_large(switch):
    big = b'{"description": "' + b"x" * 3_000_000 + b'"}'
    try:
        answer = switch.api.request("POST", "/connections", raw=big, headers={"Content-Type": "application/json"})
    except OSError:
        return  # refused while it was still being sent
    assert answer.status == 413


def test_a_client_that_asks_too_much_is_slowed_down(own_switch):
    switch = own_switch("--api-requests-per-second", 5, "--api-request-burst", 10)
    answers = [switch.api.get("/version") for _ in range(60)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and int(refused[0].headers["Retry-After"]) > 0
    assert any(answer.status == 200 for answer in answers)


def test_head_and_keep_alive(switch):
    connection = http.client.HTTPConnection("127.0.0.1", switch.http_port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()


def test_version_names_itself(switch):
    version = switch.api.get("/version")
    assert version.status == 200 and {"apiversion", "hostname"} <= set(version.json)


def test_odd_characters_in_paths(switch):
    tenant = Tenant(switch)
    pattern = "sip:[*]67?/ü%@*.x.example"
    body = {"domain": tenant.domain, "connection-orig-match-pattern": pattern}
    made = tenant.api.post("/connections", body)
    if made.status == 202:
        answer = tenant.api.get(f"/domains/{tenant.domain}/connections/{quoted(pattern)}")
        assert answer.status == 200 and answer.json[0]["connection-orig-match-pattern"] == pattern
    else:
        assert made.status == 400
    tenant.remove()
