"""Domains: the organisation that everything else belongs to."""


def body(name, **fields):
    return {"domain": name, "reseller": "tests", "description": "made by a test", **fields}


def test_create_count_read_delete(tenant):
    api, name = tenant.api, f"new-{tenant.number}.example"
    before = api.get("/domains/count").json["total"]
    accepted = api.post("/domains", body(name))
    assert (accepted.status, accepted.json["code"]) == (202, 202)
    assert api.get("/domains/count").json["total"] == before + 1
    assert api.get(f"/domains/{name}").json["description"] == "made by a test"
    assert api.delete(f"/domains/{name}").status in (200, 202)
    assert api.get(f"/domains/{name}").status == 404


def test_synchronous_returns_the_domain(tenant):
    name = f"sync-{tenant.number}.example"
    made = tenant.api.post("/domains", body(name, synchronous="yes"))
    assert made.status == 200 and made.json["domain"] == name
    tenant.api.delete(f"/domains/{name}")


def test_a_duplicate_is_a_conflict(tenant):
    assert tenant.api.post("/domains", body(tenant.domain)).status == 409


def test_a_name_that_cannot_be_one_is_refused(tenant):
    for name in ("with space.example", "slash/y", "", "x" * 65):
        answer = tenant.api.post("/domains", body(name))
        assert answer.status == 400 and "domain" in answer.message, name


def test_a_list_comes_in_pages(tenant):
    everything = [one["domain"] for one in tenant.api.get("/domains", limit=1000).json]
    pages = [tenant.api.get("/domains", start=start, limit=2).json for start in range(0, len(everything), 2)]
    assert all(len(page) <= 2 for page in pages)
    assert [one["domain"] for page in pages for one in page] == everything


def test_a_page_is_bounded(tenant):
    assert tenant.api.get("/domains", limit=1_000_000).status == 400
