"""A domain of its own for each test, filled over the API as a user would fill it."""

import contextlib
import itertools

from .api import quoted
from .sip_ua import Ua
from .waiting import wait_until

_numbers = itertools.count(1)
PLAN = "calls"


class Tenant:
    """A domain with an empty dial plan named `calls`. Names carry a number, so tests never meet each other."""

    def __init__(self, switch):
        self.switch, self.api = switch, switch.api
        self.number = next(_numbers)
        self.domain = f"d{self.number}.example"
        self.api.create("/domains", {
            "synchronous": "yes", "domain": self.domain, "reseller": "tests", "description": "made by a test",
        })  # fmt: skip
        self.plan(PLAN)

    def host(self, name):
        """A connection's name as it stands in From hosts and rules: `a` becomes a7.example.net."""
        return f"{name}{self.number}.example.net"

    def plan(self, name):
        self.api.create(f"/domains/{self.domain}/dialplans",
                        {"dial-rule-dial-plan": name, "dial-rule-description": "made by a test"})  # fmt: skip

    def connection(self, name, address="", **fields):
        """A trunk that is known by From host `host(name)` and called under the same name. Fields: `-` as `_`."""
        body = {
            "domain": self.domain,
            "connection-orig-match-pattern": f"sip*@{self.host(name)}",
            "connection-address": address,
            "dial-plan": PLAN,
            "connection-is-carrier-trunk": "yes",
        }
        body.update({field.replace("_", "-"): value for field, value in fields.items()})
        self.api.create("/connections", body)
        return body["connection-orig-match-pattern"]

    def change(self, name, **fields):
        """PUT on the connection `name`."""
        path = f"/domains/{self.domain}/connections/{quoted(f'sip*@{self.host(name)}')}"
        answer = self.api.put(path, {field.replace("_", "-"): value for field, value in fields.items()})
        assert answer.status in (200, 202), answer

    def read(self, name):
        answer = self.api.get(f"/domains/{self.domain}/connections/{quoted(f'sip*@{self.host(name)}')}")
        assert answer.status == 200, answer
        (record,) = answer.json  # the reference answers with a list of one
        return record

    def state(self, name):
        """How it stands with the peer of the connection `name`."""
        path = f"/domains/{self.domain}/connections/{quoted(f'sip*@{self.host(name)}')}/state"
        answer = self.api.request("GET", path, base="/strowger/v1")
        assert answer.status == 200, answer
        return answer.json

    def once(self, name, seconds=5, **fields):
        """The state of a connection, once these fields of it have these values."""

        def seen():
            state = self.state(name)
            return state if all(state[field.replace("_", "-")] == value for field, value in fields.items()) else None

        return wait_until(f"{name} is {fields}", seen, seconds)

    def rule(self, to_uri, host, user="[*]", plan=PLAN, application="to-connection", **fields):
        """A dial rule that sends `to_uri` to the connection of that host. Fields as in the API, `-` as `_`."""
        body = {
            "synchronous": "yes",
            "dial-rule-matching-to-uri": to_uri,
            "dial-rule-application": application,
            "dial-rule-translation-destination-user": user,
            "dial-rule-translation-destination-host": host,
        }
        body.update({field.replace("_", "-"): value for field, value in fields.items()})
        return self.api.create(f"/domains/{self.domain}/dialplans/{quoted(plan)}/dialrules", body)

    def active_calls(self):
        """Calls up on the connections of this domain, both directions."""
        found = self.api.get(f"/domains/{self.domain}/connections").json
        return sum(one["active-calls-orig-current"] + one["active-calls-term-current"] for one in found)

    def remove(self):
        self.api.delete(f"/domains/{self.domain}")


class Carriers:
    """Two carriers around the switch: `alice` calls in through connection `a`, `bob` is called through `b`.

    `where` is a context in which their sockets are made: that of a host beside us, say.
    """

    def __init__(self, tenant, alice=("127.0.0.1", "UDP"), bob=("127.0.0.1", "UDP"), a=None, b=None, rule=True,
                 where=None):  # fmt: skip
        self.tenant, self.switch = tenant, tenant.switch
        with where or contextlib.nullcontext():
            self.alice, self.bob = Ua(*alice, user="alice"), Ua(*bob, user="bob")
        tenant.connection("a", address=self.alice.hostport, **(a or {}))
        tenant.connection("b", address=self.bob.hostport,
                          **{"connection_sip_transport_protocol": bob[1], **(b or {})})  # fmt: skip
        if rule:
            tenant.rule("*", tenant.host("b"))
        self.from_uri = f"sip:12125550111@{tenant.host('a')}"

    @property
    def door(self):
        """Where alice sends her INVITEs: the switch's address of her family."""
        return self.switch.sip_address(self.alice.host)

    def called(self, number="13105550100"):
        host = f"[{self.door[0]}]" if ":" in self.door[0] else self.door[0]
        return f"sip:{number}@{host}:{self.door[1]}"

    def call(self, number="13105550100", body=b"", headers=(), **parts):
        """alice's INVITE."""
        parts.setdefault("from_uri", self.from_uri)
        return self.alice.invite(self.door, self.called(number), body=body, headers=headers, **parts)

    def established(self, offer=b"", answer=b""):
        """A call that is answered and acknowledged on both sides: (alice's Call, bob's Call)."""
        call = self.call(body=offer)
        leg = self.bob.incoming()
        leg.reply(leg.invite, 200, answer)
        call.expect(200)
        call.ack()
        leg.expect("ACK")
        return call, leg

    def hang_up(self, call, leg):
        """alice ends the call."""
        bye = call.request("BYE")
        leg.expect_bye()
        assert self.alice.response_to(bye).status == 200

    def record(self, call):
        """The CDR of alice's call; it is written within a second or so of its end."""
        mine = lambda: [r for r in self.switch.cdrs() if r["orig"]["call_id"] == call.call_id]  # noqa: E731
        (record,) = wait_until("the call's record", mine)
        return record

    def close(self):
        self.alice.close()
        self.bob.close()
