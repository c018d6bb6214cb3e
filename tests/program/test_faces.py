"""/healthz, /metrics, /docs, the OpenAPI document, and the commands beside `serve`."""

import json
import re
import urllib.request

from lib import sdp
from lib.api import Api
from lib.switch import ROOT, run
from lib.waiting import wait_until


def test_metrics_are_prometheus_text(switch):
    with urllib.request.urlopen(switch.origin + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z_:][a-z0-9_:]*(\{.*\})? [-+0-9.eEinfNa]+", line), line


def test_gauges_rise_and_fall_with_a_call(carriers):
    two = carriers()
    call, leg = two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))
    wait_until("the call is counted", lambda: two.switch.metric("strowger_calls_active") == 1)
    bye = call.request("BYE")
    leg.expect_bye()
    two.alice.response_to(bye)
    wait_until("no call is left", lambda: two.switch.metric("strowger_calls_active") == 0)


def test_the_openapi_document_describes_what_is_served(switch):
    document = Api(switch.origin).get("/openapi.json").json
    assert document["openapi"].startswith("3.")
    for path in ("/connections", "/domains/{domain}/connections", "/version", "/apikeys"):
        assert any(found.endswith(path) for found in document["paths"]), path


def test_the_docs_need_no_other_host(switch):
    """The page and everything it loads come from the binary."""
    answer = Api(switch.origin).request("GET", "/docs", base="")
    if answer.status == 404:
        answer = Api(switch.origin).get("/docs")
    assert answer.status == 200 and "html" in answer.headers["Content-Type"]
    loaded = re.findall(r'(?:src|href)\s*=\s*"(https?://[^"]+)"', answer.body)
    assert [url for url in loaded if not url.startswith(switch.origin)] == []
    assert answer.headers.get("Content-Security-Policy"), "the page may load nothing from elsewhere"


def test_explain_names_the_path_of_a_call_without_placing_it(carriers):
    two = carriers()
    result = run("explain", "--data", two.switch.data, "--from", two.from_uri, "--to", "sip:13105550100@sbc.example",
                 "--source", "127.0.0.1")  # fmt: skip
    assert result.returncode == 0, result.stderr
    for word in (f"sip*@{two.tenant.host('a')}", f"sip*@{two.tenant.host('b')}", "calls", two.bob.hostport):
        assert word in result.stdout, f"{word} is not in the explanation:\n{result.stdout}"
    two.bob.no_call(0.2)


def test_cdr_tail_shows_a_call_to_a_person_and_to_a_program(carriers):
    two = carriers()
    call = two.call("4242")
    leg = two.bob.incoming()
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)
    record = wait_until("the record", lambda: [r for r in two.switch.cdrs() if r["orig"]["call_id"] == call.call_id])
    assert json.dumps(record)


def test_the_demo_places_a_call_in_ten_seconds():
    result = run("demo", timeout=20)
    assert result.returncode == 0, result.stdout + result.stderr
    for word in ("INVITE", "180", "200", "ACK", "BYE", "packets"):
        assert word in result.stdout, f"{word} is not in the ladder:\n{result.stdout}"


def test_healthz_is_well(switch):
    assert switch.healthy()


def test_the_healthz_command_is_a_probe_for_containers(switch):
    assert run("healthz", "--http", f"127.0.0.1:{switch.http_port}").returncode == 0
    assert run("healthz", "--http", "127.0.0.1:1").returncode != 0


def test_the_example_configuration_is_valid(tmp_path):
    """The file in the repository, and what the program prints as its own."""
    config = tmp_path / "printed.toml"
    config.write_text(run("check", "--example").stdout)
    for path in (config, ROOT / "strowger.example.toml"):
        result = run("check", "--config", path)
        assert result.returncode == 0, result.stderr
