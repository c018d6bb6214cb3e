"""Bad input on every field of every operation that is served, made from the OpenAPI document the switch hands out.

Bad is refused with a 400 that names the field, and nothing of it is stored. Odd but legal text comes back as it went
in, and adds no line to a SIP message.
"""

import http.client
import json
import socket
import urllib.parse

import pytest

from lib import hostile_json
from lib.api import BASE, new_key, quoted
from lib.hostile_json import Document, broken_bodies, broken_values, is_number, with_value, writable
from lib.tenant import PLAN, Tenant
from lib.waiting import wait_until

JSON = "application/json"


class World:
    """A tenant with one object of each kind, and the values that lead to them."""

    def __init__(self, switch):
        self.switch, self.api = switch, switch.api
        self.tenant = Tenant(switch)
        self.domain = self.tenant.domain
        self.name = hostile_json.counted(f"faults{self.tenant.number}-")
        api, number = self.api, self.tenant.number
        self.pattern = self.tenant.connection("a", address="127.0.0.1:9")
        rule = self.tenant.rule("sip:000@*", "nowhere.example")
        self.policy = f"policy{number}"
        api.create("/dialpolicy", {"dialpolicy": self.policy, "domain": self.domain, "description": "of a test"})
        self.global_policy = f"global{number}"
        api.create("/dialpolicy", {"dialpolicy": self.global_policy, "domain": "*", "description": "of a test"})
        permission = {"permission-match": "sip:1900*@*", "permission-mode": "deny", "permission-reason": "of a test"}
        api.create(f"/domains/{self.domain}/dialpolicy/{self.policy}/permission", permission)
        api.create(f"/dialpolicy/{self.global_policy}/permission", permission)
        self.route_pattern = f"sip:777{number}*@*"
        api.create("/routes", {"route-destination-match-pattern": self.route_pattern, "description": "of a test",
                               "route-method": "fixed"})  # fmt: skip
        (route,) = api.get("/routes", **{"route-destination-match-pattern": self.route_pattern}).json
        self.route = route["route-id"]
        api.create(f"/routes/{quoted(self.route)}/routecon", {
            "route-connection-translation-destination-user": "[*]",
            "route-connection-translation-destination-host": "nowhere.example",
        })  # fmt: skip
        self.key = new_key(api, domain=self.domain, scope="Office Manager")
        own = api.get(f"/domains/{self.domain}/dialpolicy/{self.policy}/permission").json[0]
        common = api.get(f"/dialpolicy/{self.global_policy}/permission").json[0]
        self.places = {
            "domain": self.domain, "connection-orig-match-pattern": self.pattern, "dialplan": PLAN,
            "dialrule": rule["dialrule"], "policy": self.policy,
            "id": own["permission-id"],
            "route-id": self.route, "index": "1", "key_id": self.key["key-id"],
        }  # fmt: skip
        self.common_permission = common["permission-id"]
        self.document = Document(api.get("/openapi.json").json)
        self.connection = http.client.HTTPConnection("127.0.0.1", switch.http_port, timeout=20)

    def path(self, path, **places):
        """The path with its places filled in."""
        places = {**self.places, **places}
        if path.startswith("/dialpolicy/"):
            places["policy"], places["id"] = self.global_policy, self.common_permission
        for name, value in places.items():
            path = path.replace("{" + name + "}", quoted(value))
        assert "{" not in path, f"{path}: the test knows no such place"
        return path

    def valid(self, method, schema):
        """The least body that is accepted."""
        known = {
            "domain": self.domain, "reseller": "tests", "description": "made by a test of bad input",
            "connection-orig-match-pattern": f"sip*@{self.name()}.example", "dial-rule-dial-plan": self.name(),
            "dial-rule-description": "of a test", "dial-rule-matching-to-uri": f"sip:{self.name()}@*",
            "dial-rule-translation-destination-user": "[*]", "dialpolicy": self.name(),
            "permission-match": f"sip:{self.name()}@*", "permission-mode": "deny", "permission-reason": "of a test",
            "route-destination-match-pattern": f"sip:{self.name()}@*", "route-method": "fixed",
            "route-connection-translation-destination-user": "[*]",
            "route-connection-translation-destination-host": f"{self.name()}.example", "user-scope": "Office Manager",
        }  # fmt: skip
        required = schema.get("required", [])
        body = {name: known[name] for name in required}
        if "dialpolicy" in schema["properties"] and method == "POST" and "user-scope" not in schema["properties"]:
            body["dialpolicy"] = known["dialpolicy"]
        return body

    def send(self, method, path, raw=None, headers=None, base=BASE):
        """(status, body) over a connection that is kept: thousands of requests are made."""
        send = {"Authorization": f"Bearer {self.switch.key}", **(headers or {})}
        if raw is not None:
            send.setdefault("Content-Type", JSON)
        try:
            self.connection.request(method, base + path, raw, send)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            self.connection.close()
            self.connection.request(method, base + path, raw, send)
            answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def stored(self):
        """Everything that bad input could have changed, as GET tells it."""
        lists = (
            "/domains", "/domains/count", f"/domains/{self.domain}", "/connections/count",
            f"/domains/{self.domain}/connections", f"/domains/{self.domain}/dialplans/{PLAN}/dialrules", "/dialplans",
            "/dialpolicy", f"/domains/{self.domain}/dialpolicy/{self.policy}/permission",
            f"/dialpolicy/{self.global_policy}/permission", "/routes", f"/routes/{quoted(self.route)}/routecon",
            "/apikeys", f"/apikeys/{self.key['key-id']}",
        )  # fmt: skip
        return {path: self.api.get(path).body for path in lists}

    def remove(self):
        self.connection.close()
        self.api.delete(f"/dialpolicy/{self.global_policy}")
        self.api.delete(f"/routes/{quoted(self.route)}")
        self.tenant.remove()


@pytest.fixture(scope="module")
def world(switch):
    one = World(switch)
    yield one
    one.remove()


def test_a_broken_value_of_any_field_is_refused_by_name_and_not_stored(world):
    before, sent, wrong = world.stored(), 0, []
    for method, path, operation in world.document.operations("post", "put"):
        schema = world.document.body(operation)
        for name, field in writable(schema):
            for what, value in broken_values(field).items():
                body = world.valid(method, schema)
                status, text = world.send(method, world.path(path), with_value(body, name, value))
                sent += 1
                # What nobody may even name has no name of its own in the answer: another domain's, for one.
                if status != 400 or name not in text:
                    wrong.append(f"{method} {path} {name}: {what}: {status} {text[:160]}")
    assert sent > 2000, "the document has fewer fields than we have"
    assert not wrong, f"{len(wrong)} of {sent}:\n" + "\n".join(wrong[:40])
    assert world.stored() == before
    assert world.switch.metric("strowger_panics_total") == 0


def test_a_broken_body_is_refused_at_every_operation_and_not_stored(world):
    before, wrong = world.stored(), []
    for method, path, operation in world.document.operations("post", "put"):
        schema = world.document.body(operation)
        body = world.valid(method, schema) or {"description": "x"}
        name = next(iter(body))
        for what, raw in broken_bodies(body, name).items():
            status, text = world.send(method, world.path(path), raw)
            if status != 400 or json.loads(text)["code"] != 400:
                wrong.append(f"{method} {path}: {what}: {status} {text[:160]}")
        for kind in ("text/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
            status, text = world.send(method, world.path(path), b"{}", {"Content-Type": kind})
            if status != 415:
                wrong.append(f"{method} {path}: {kind}: {status} {text[:160]}")
    assert not wrong, "\n".join(wrong[:40])
    assert world.stored() == before


def test_a_body_of_ten_megabytes_is_refused_at_every_operation_and_not_stored(world):
    before, wrong = world.stored(), []
    for method, path, _ in world.document.operations("post", "put"):
        for chunked in (False, True):
            status = send_large(world, method, world.path(path), 10 << 20, chunked)
            if status != 413:
                wrong.append(f"{method} {path}: {'chunked' if chunked else 'announced'}: {status}")
    assert not wrong, "\n".join(wrong)
    assert world.stored() == before


def head(world, method, path, *lines):
    text = [f"{method} {BASE}{path} HTTP/1.1", "Host: test", f"Authorization: Bearer {world.switch.key}",
            f"Content-Type: {JSON}", *lines]  # fmt: skip
    return "\r\n".join(text).encode() + b"\r\n\r\n"


def send_large(world, method, path, size, chunked):
    """The status that a client gets to see: one that announces how much comes waits for leave, another just sends."""
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    with socket.create_connection(("127.0.0.1", world.switch.http_port), timeout=20) as sock:
        sock.sendall(head(world, method, path, length, *([] if chunked else ["Expect: 100-continue"])))
        piece = b"x" * 65536
        # As much as the switch has to read until it knows; whoever goes on after that is cut off.
        for _ in range(5 if chunked else 0):
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        return int(sock.recv(4096).split()[1])


def test_a_client_that_keeps_sending_is_cut_off(world):
    """It announces more than anybody's buffers hold, and sends whatever it is told."""
    before, size = world.stored(), 64 << 20
    with socket.create_connection(("127.0.0.1", world.switch.http_port), timeout=20) as sock:
        sock.sendall(head(world, "POST", "/connections", f"Content-Length: {size}"))
        with pytest.raises(ConnectionError):
            for _ in range(size // 65536):
                sock.sendall(b"x" * 65536)
    assert world.stored() == before


def test_a_chunked_body_that_breaks_off_or_lies_is_never_carried_out(world):
    before = world.stored()
    for method, path, operation in world.document.operations("post", "put"):
        body = json.dumps(world.valid(method, world.document.body(operation)) or {"description": "cut"}).encode()
        start = head(world, method, world.path(path), "Transfer-Encoding: chunked")
        whole = b"%x\r\n%s\r\n" % (len(body), body)
        for chunks in (
            whole,  # no last chunk, and the client goes
            whole[: len(whole) // 2],
            b"zz\r\n" + body + b"\r\n0\r\n\r\n",
            b"-5\r\n" + body + b"\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\n" + body + b"\r\n0\r\n\r\n",
            b"%x\r\n%s0\r\n\r\n" % (len(body) - 3, body),
        ):
            with socket.create_connection(("127.0.0.1", world.switch.http_port), timeout=10) as sock:
                sock.sendall(start + chunks)
                sock.shutdown(socket.SHUT_WR)
                answer = b""
                while part := sock.recv(4096):
                    answer += part
                assert not answer or 400 <= int(answer.split()[1]) < 500, (method, path, chunks[:40], answer)
    assert world.stored() == before


def test_two_lengths_are_not_two_requests(world):
    """Request smuggling: a proxy in front and the switch must never disagree where a request ends."""
    inner = b"DELETE %s/domains/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (
        BASE.encode(), world.domain.encode(), world.switch.key.encode())  # fmt: skip
    for lines, body in (
        (("Content-Length: 2", f"Content-Length: {len(inner) + 2}"), b"{}" + inner),
        (("Transfer-Encoding: chunked, identity", "Content-Length: 5"), b"0\r\n\r\n" + inner),
        (("Transfer-Encoding: xchunked", "Content-Length: 2"), b"{}" + inner),
    ):
        with socket.create_connection(("127.0.0.1", world.switch.http_port), timeout=10) as sock:
            sock.sendall(head(world, "PUT", f"/domains/{world.domain}", *lines) + body)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        # Where the framing is sound to one reader, the second request is his own; here it never is.
        assert world.api.get(f"/domains/{world.domain}").status == 200, lines


def test_odd_queries_and_paths_never_fail_inside(world):
    before, wrong = world.stored(), []
    odd = [urllib.parse.quote(text, safe="") for text in hostile_json.ODD_TEXT]
    odd += ["%00", "%0d%0aX-Injected:%20yes", "%ff%fe", "%ed%a0%80", "%", "%zz", "x" * 6000, "-1", "9" * 400, "1e9",
            "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "*", "~", "~~", "%7e", "count"]  # fmt: skip
    for method, path, operation in world.document.operations("get"):
        base = "" if path.startswith("/strowger") else BASE
        for parameter in operation.get("parameters", []):
            for value in odd:
                if parameter["in"] == "query":
                    where = f"{world.path(path)}?{parameter['name']}={value}"
                elif parameter["in"] == "path":
                    before_it, after_it = path.split("{" + parameter["name"] + "}")
                    where = world.path(before_it) + value + world.path(after_it)
                else:
                    continue
                status, text = world.send(method, where, base=base)
                if status >= 500 or "X-Injected: yes" in text.split("\r\n"):
                    wrong.append(f"{method} {where[:200]}: {status} {text[:160]}")
    for method, path, _ in world.document.operations("delete"):
        for value in ("%00", "%ff", "'; DROP TABLE connections; --", "x" * 6000):
            last = path[path.rindex("{") :]
            where = world.path(path.replace(last, "")) + urllib.parse.quote(value, safe="%")
            status, text = world.send(method, where)
            if not 400 <= status < 500:
                wrong.append(f"{method} {where[:200]}: {status} {text[:160]}")
    assert not wrong, "\n".join(wrong[:40])
    assert world.stored() == before


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer x y", "Basic eDp5", "bearer " + "x" * 7000, "Bearer \x80\xff", "Bearer ' OR 1=1 --"],
                         ids=range(8))  # fmt: skip
def test_odd_credentials_are_no_credentials(world, value):
    status, _ = world.send("GET", "/domains", headers={"Authorization": value})
    assert status in (401, 429, 431)


def test_odd_but_legal_text_comes_back_as_it_went_in(world):
    """Each field of text of the records: what was taken is what GET shows."""
    wrong = []
    for method, path, operation in world.document.operations("put"):
        schema = world.document.body(operation)
        read = world.document.document["paths"][path].get("get")
        if path.startswith("/apikeys"):
            continue
        for name, field in writable(schema):
            if is_number(field) or field.get("enum") or field.get("writeOnly") or name == "synchronous":
                continue
            for text in hostile_json.ODD_TEXT:
                status, answer = world.send(method, world.path(path), with_value(world.valid(method, schema), name, text))
                if status == 400 and name in answer:
                    continue
                if not 200 <= status < 300:
                    wrong.append(f"{path} {name}: {text!r}: {status} {answer[:160]}")
                    continue
                shown = shown_at(world, path, read, name)
                # A secret may be hidden; a field in a form of its own says the same in it.
                if shown is not None and text not in shown:
                    wrong.append(f"{path} {name}: {text!r} became {shown!r}")
            default = field.get("default", "")
            world.send(method, world.path(path), with_value(world.valid(method, schema), name, default))
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])


def shown_at(world, path, read, name):
    """The values of a field that GET shows at a path, or in the list that the path is part of."""
    status, text = world.send("GET", world.path(path if read else path.rsplit("/", 1)[0]))
    if status != 200:
        return None
    found = json.loads(text)
    return [one[name] for one in (found if isinstance(found, list) else [found]) if name in one] or None


WIRE = [
    ("connection-translation-source-user", "'; DROP TABLE x; --"),
    ("connection-translation-source-user", "x%0d%0aX-Injected:%20yes"),
    ("connection-translation-source-user", "a@b>;tag=1"),
    ("connection-translation-source-user", "x\u2028X-Injected: yes"),
    ("connection-translation-request-user", "x y\"<>@;?"),
    ("connection-translation-request-user", "東京\U0001f4de"),
    ("connection-translation-destination-user", "x;y?z=1&X-Injected=yes"),
    ("connection-translation-source-host", "evil.example>;x=\"1"),
    ("connection-translation-source-host", "h\\r\\nX-Injected: yes"),
    ("connection-translation-request-host", "h;transport=tcp?X-Injected=yes"),
    ("connection-translation-destination-host", "a b, c"),
    ("connection-custom-p-asserted-id-format", "<LT>sip:x@y<GT>, <LT>sip:evil@z<GT>"),
    ("connection-custom-p-asserted-id-format", "\\r\\nX-Injected: yes"),
]


@pytest.mark.parametrize("field, text", WIRE, ids=range(len(WIRE)))
def test_odd_text_of_a_connection_adds_no_header_line(carriers, field, text):
    """The call is placed, or refused; what goes out is one message with the headers that belong there."""
    two = carriers()
    plain = two.call()
    leg = two.bob.incoming()
    usual = {name.lower() for name, _ in leg.invite.headers}
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    plain.expect(486)
    path = f"/domains/{two.tenant.domain}/connections/{quoted('sip*@' + two.tenant.host('b'))}"
    answer = two.tenant.api.put(path, {field: text})
    if answer.status == 400:
        assert field in answer.message
        return
    assert two.tenant.read("b")[field] == text
    call = two.call()
    leg = wait_until("the call goes out or is refused", lambda: leg_or_refusal(two, call))
    if leg == "refused":
        return
    raw = leg.invite.raw_head
    names = [line.split(":", 1)[0].strip().lower() for line in raw.split("\r\n")[1:]]
    assert set(names) - usual <= {"p-asserted-identity", "privacy", "remote-party-id"}, raw
    for single in ("from", "to", "call-id", "cseq", "max-forwards"):
        assert names.count(single) == 1, raw
    assert "\n" not in raw.replace("\r\n", "") and "\r" not in raw.replace("\r\n", ""), raw
    assert len(raw.split("\r\n")[0].split(" ")) == 3, raw
    leg.reply(leg.invite, 486)
    leg.expect("ACK")
    call.expect(486)


def leg_or_refusal(two, call):
    """bob's side of the call, or "refused" when alice was told that there is none."""
    two.alice._collect(0.02)
    for message in two.alice.inbox:
        if message.call_id == call.call_id and message.status and message.status >= 300:
            call.expect(message.status)
            return "refused"
    two.bob._collect(0.02)
    return two.bob.incoming() if any(message.is_request for message in two.bob.inbox) else None
