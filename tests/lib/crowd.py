"""Many calls at once in every state, for a switch that dies in their midst: what is not answered is sent again.

A `Crowd` plays the callers and the called behind two carriers. Unlike `Ua` it does what RFC 3261 asks of a user agent:
requests are repeated until they are answered, answers to an INVITE until they are acknowledged, and what comes twice
is answered twice. It says what became of each call and leaves the judgement to the test.
"""

import selectors
import time

from . import sdp
from .rtp import Port, listen
from .sdp import Sdp
from .sip_message import Message, param, user_of
from .sip_ua import ALLOW, Call

T1_SECONDS, T2_SECONDS, GIVE_UP_SECONDS = 0.5, 4.0, 32.0


class Repeated:
    """A message that is sent until somebody says to stop."""

    def __init__(self, side, message, destination):
        self.side, self.message, self.destination = side, message, destination
        self.interval, now = T1_SECONDS, time.monotonic()
        self.due, self.ends = now + T1_SECONDS, now + GIVE_UP_SECONDS
        self.quiet = False
        side.send(message, destination)

    def tick(self, now):
        """False when nobody answers."""
        if now >= self.ends and not self.quiet:
            return False
        if now >= self.due and not self.quiet:
            self.side.send(self.message, self.destination)
            self.interval = min(self.interval * 2, T2_SECONDS)
            self.due = now + self.interval
        return True


class Side:
    """One end of one call."""

    def __init__(self, crowd, ua, call, port):
        self.crowd, self.ua, self.call, self.port = crowd, ua, call, port
        self.state = "new"  # then ringing, up, ended
        self.asked = {}  # our requests that wait for an answer: (branch, method) -> Repeated
        self.told = {}  # our final answers to INVITEs that wait for an ACK: cseq -> Repeated
        self.said = {}  # what we answered: (method, cseq) -> bytes, destination
        self.acks = {}  # by cseq
        self.far_rtp = None
        self.version = 1
        self.gave_up = []

    def send(self, message, destination):
        self.crowd.sent += 1
        self.ua.sock.sendto(message.to_bytes(), destination)

    def description(self):
        return sdp.audio("127.0.0.1", self.port.port, version=self.version)

    def ask(self, message, destination):
        self.asked[message.branch, message.method] = Repeated(self, message, destination)

    def request(self, method, body=b""):
        message = self.call.build(method, body=body)
        self.ask(message, self.crowd.door)
        return message

    def reinvite(self):
        self.version += 1
        self.request("INVITE", self.description())

    def hang_up(self):
        self.state = "ended"
        self.request("BYE")

    def answer(self, request, status, body=b""):
        sent = []
        send, self.ua.send = self.ua.send, lambda message, *_: sent.append(message)
        try:
            self.call.reply(request, status, body)
        finally:
            self.ua.send = send
        (message,) = sent
        key = (request.method, request.cseq)
        if request.method == "INVITE" and status >= 200:
            self.told[request.cseq] = Repeated(self, message, request.source)
        else:
            self.send(message, request.source)
        self.said[key] = (message, request.source)

    # -- what comes ---------------------------------------------------------------------------------------------

    def on_request(self, request):
        if request.method == "ACK":
            self.told.pop(request.cseq, None)
            return
        again = self.said.get((request.method, request.cseq))
        if again:
            self.send(*again)
        elif request.method == "INVITE":
            self.far_rtp = Sdp(request.body).rtp if request.body else self.far_rtp
            self.answer(request, 200, self.description())
        elif request.method == "CANCEL":
            self.answer(request, 200)
            if self.state in ("new", "ringing"):
                self.state = "ended"
                self.answer(self.call.invite, 487)
        else:
            if request.method == "BYE":
                self.state = "ended"
            self.answer(request, 200)

    def on_response(self, response):
        key = (response.branch, response.method)
        exchange = self.asked.get(key)
        if response.method == "INVITE":
            self.on_invite_response(response, key, exchange)
        elif exchange and response.status >= 200:
            del self.asked[key]

    def on_invite_response(self, response, key, exchange):
        if response.status < 200:
            if exchange:
                exchange.quiet = True
                self.state = "ringing" if self.state == "new" else self.state
            return
        if response.cseq in self.acks:
            self.send(*self.acks[response.cseq])
            return
        if not exchange:
            return
        del self.asked[key]
        if response.status >= 300:
            of_invite, self.call.invite = self.call.invite, exchange.message
            ack = self.call.ack_for_failure(response)
            self.call.invite = of_invite
            if self.state != "up":
                self.state = "ended"
        else:
            self.call._learn(response)
            self.far_rtp = Sdp(response.body).rtp if response.body else self.far_rtp
            ack = self.call.build("ACK", cseq=response.cseq)
            if self.state in ("new", "ringing"):
                self.state = "up"
        self.acks[response.cseq] = (ack, self.crowd.door)
        self.send(ack, self.crowd.door)

    def tick(self, now):
        for waiting in (self.asked, self.told):
            for key, repeated in list(waiting.items()):
                if not repeated.tick(now):
                    del waiting[key]
                    self.gave_up.append(repeated.message)

    @property
    def is_waiting(self):
        return any(not one.quiet for one in self.asked.values()) or bool(self.told)


class Conversation:
    """A call from alice to bob."""

    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        two = crowd.two
        self.ports = Port(voice=number % 120 + 1), Port(voice=number % 120 + 121)
        uri = two.called(f"1310{number:07d}")
        invite = two.alice.build(
            "INVITE", uri, from_uri=two.from_uri, headers=[("Allow", ALLOW)], body=sdp.audio("127.0.0.1", self.ports[0].port)
        )
        self.a = Side(crowd, two.alice, Call(two.alice, invite, two.door, caller=True), self.ports[0])
        self.b = None
        self.a.ask(invite, two.door)

    def on_invite(self, request):
        """bob is called."""
        call = Call(self.crowd.two.bob, request, request.source, caller=False)
        self.b = Side(self.crowd, self.crowd.two.bob, call, self.ports[1])
        self.b.far_rtp = Sdp(request.body).rtp
        self.b.state = "ringing"
        self.b.answer(request, 180)

    def accept(self):
        """bob takes the call."""
        if self.b and self.b.state == "ringing":
            self.b.state = "up"
            self.b.said.pop(("INVITE", self.b.call.invite.cseq), None)
            self.b.answer(self.b.call.invite, 200, self.b.description())

    def cancel(self):
        """alice does not want to wait any longer."""
        if self.a.state == "ringing":
            invite = self.a.call.invite
            names = ("Via", "From", "To", "Call-ID", "Max-Forwards")
            lines = [(name, invite.get(name)) for name in names] + [("CSeq", f"{invite.cseq} CANCEL")]
            self.a.ask(Message(f"CANCEL {invite.uri} SIP/2.0", lines), self.crowd.door)

    @property
    def sides(self):
        return [side for side in (self.a, self.b) if side]

    @property
    def is_up(self):
        return self.b is not None and self.a.state == self.b.state == "up"

    @property
    def is_over(self):
        return self.a.state == "ended" and (self.b is None or self.b.state == "ended")

    def heard(self, seconds=3.0):
        """Whether each side hears the other; both send meanwhile."""
        one, other = self.ports
        for port in self.ports:
            port.drain()
            port.received.clear()
        deadline = time.monotonic() + seconds
        while not (one.heard(other) and other.heard(one)) and time.monotonic() < deadline:
            one.send(self.a.far_rtp)
            other.send(self.b.far_rtp)
            listen(self.ports, 0.02)
        return bool(one.heard(other)) and bool(other.heard(one))

    def close(self):
        for port in self.ports:
            port.close()

    def __repr__(self):
        b = self.b.state if self.b else "not called"
        return f"<call {self.number}: alice {self.a.state}, bob {b}, id {self.a.call.call_id}>"


class Crowd:
    """All calls between the two carriers."""

    def __init__(self, two):
        self.two, self.door = two, two.door
        self.calls = []
        self.by_id = {}
        self.sent = 0
        self.strays = []
        self.selector = selectors.DefaultSelector()
        for ua in (two.alice, two.bob):
            ua.sock.setblocking(False)
            self.selector.register(ua.sock, selectors.EVENT_READ, ua)

    def invite(self):
        """One more call."""
        call = Conversation(self, len(self.calls) + 1)
        self.calls.append(call)
        self.by_id[self.two.alice, call.a.call.call_id] = call.a
        return call

    def step(self, seconds):
        """Deals with what comes within that time, and repeats what is due."""
        deadline = time.monotonic() + seconds
        while True:
            for key, _ in self.selector.select(max(0.0, min(0.05, deadline - time.monotonic()))):
                self._read(key.data)
            now = time.monotonic()
            for call in self.calls:
                for side in call.sides:
                    side.tick(now)
            if now >= deadline:
                return

    def until(self, condition, seconds):
        """Goes on until the condition holds; false when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            self.step(0.05)
        return True

    def settle(self, seconds=40):
        """Goes on until nobody waits for an answer."""
        quiet = lambda: not any(side.is_waiting for call in self.calls for side in call.sides)  # noqa: E731
        return self.until(quiet, seconds)

    def _read(self, ua):
        while True:
            try:
                data, source = ua.sock.recvfrom(65536)
            except BlockingIOError:
                return
            if not data.strip():
                continue
            message = Message.parse(data)
            message.source = source[:2]
            side = self.by_id.get((ua, message.call_id))
            if side is None and message.is_request and message.method == "INVITE" and not param(message.get("To"), "tag"):
                call = self.calls[int(user_of(message.uri)[4:]) - 1]
                call.on_invite(message)
                self.by_id[ua, message.call_id] = call.b
            elif side is None:
                self.strays.append(message)
            elif message.is_request:
                side.on_request(message)
            else:
                side.on_response(message)

    def close(self):
        self.selector.close()
        for call in self.calls:
            call.close()
