"""A key of one domain neither sees nor guesses anything of another."""

import pytest

from lib.api import new_key, quoted
from lib.tenant import Tenant


@pytest.fixture
def neighbours(switch):
    """Two tenants with a connection each, and a client with a key of the first."""
    mine, theirs = Tenant(switch), Tenant(switch)
    mine.connection("a")
    theirs.connection("a")
    key = new_key(switch.api, domain=mine.domain, scope="Office Manager")["key"]
    yield mine, theirs, switch.api.with_key(key)
    mine.remove()
    theirs.remove()


def test_lists_show_ones_own_only(neighbours):
    mine, theirs, client = neighbours
    for path in ("/domains", "/connections", "/apikeys"):
        answer = client.get(path)
        assert answer.status == 200, f"{path}: {answer}"
        assert theirs.domain not in answer.body, path
    assert mine.domain in client.get("/domains").body
    assert [one["domain"] for one in client.get("/connections").json] == [mine.domain]


def test_counts_count_ones_own_only(neighbours):
    _, _, client = neighbours
    assert client.get("/domains/count").json["total"] == 1
    assert client.get("/connections/count").json["total"] == 1


def test_a_foreign_domain_is_forbidden_whether_it_exists_or_not(neighbours):
    _, theirs, client = neighbours
    for domain in (theirs.domain, "there-is-no-such.example"):
        for path in ("", "/connections", "/dialplans/calls/dialrules", f"/connections/{quoted('sip*@x')}"):
            answer = client.get(f"/domains/{domain}{path}")
            assert answer.status == 403, f"{domain}{path}: {answer}"


def test_the_two_refusals_read_the_same(neighbours):
    _, theirs, client = neighbours
    known = client.get(f"/domains/{theirs.domain}").message.replace(theirs.domain, "X")
    unknown = client.get("/domains/there-is-no-such.example").message.replace("there-is-no-such.example", "X")
    assert known == unknown


def test_nothing_is_written_into_a_foreign_domain(neighbours):
    _, theirs, client = neighbours
    body = {"domain": theirs.domain, "connection-orig-match-pattern": "sip*@evil.example"}
    assert client.post("/connections", body).status == 403
    path = f"/domains/{theirs.domain}/connections/{quoted('sip*@' + theirs.host('a'))}"
    assert client.put(path, {"description": "mine now"}).status == 403
    assert client.delete(path).status == 403
    assert theirs.read("a")["domain"] == theirs.domain


def test_nothing_system_wide_is_written(neighbours):
    _, _, client = neighbours
    assert (
        client.post("/connections", {"domain": "*", "connection-orig-match-pattern": "sip*@evil.example"}).status == 403
    )
    assert client.post("/domains", {"domain": "new.example", "reseller": "r", "description": "d"}).status == 403


def test_a_tilde_is_ones_own_domain(neighbours):
    mine, _, client = neighbours
    assert client.get("/domains/~").json["domain"] == mine.domain
    assert [one["domain"] for one in client.get("/domains/~/connections").json] == [mine.domain]


def test_a_tilde_without_an_own_domain_is_a_bad_request(switch):
    assert switch.api.get("/domains/~").status == 400


def test_a_star_is_all_domains_for_the_super_user(neighbours, switch):
    mine, theirs, client = neighbours
    assert {mine.domain, theirs.domain} <= {one["domain"] for one in switch.api.get("/connections", domain="*").json}
    assert theirs.domain not in client.get("/connections", domain="*").body


def test_inside_ones_own_domain_a_missing_object_is_not_found(neighbours):
    mine, _, client = neighbours
    assert client.get(f"/domains/{mine.domain}/connections/{quoted('sip*@nobody')}").status == 404
