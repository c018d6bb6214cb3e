"""A SIP user agent for tests: sequential, without threads, doing only what the test says.

A test holds one `Ua` per far end and walks through the call line by line:

    call = alice.invite(switch, to="sip:13105550100@sbc", body=offer)
    leg = bob.incoming()
    leg.reply(leg.invite, 180)
    call.expect(180)

Nothing is retransmitted: the loopback loses nothing, and a message that has to be sent twice to be understood is a
failure. What arrives twice byte by byte is counted in `Ua.repeats` and otherwise dropped, so a slow test does not
trip over the switch's own timers.
"""

import secrets
import selectors
import socket
import time

from . import digest
from .sip_message import Message, address_of, param, uri_of
from .waiting import wait_until

SECONDS = 20.0
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, NOTIFY, REFER, MESSAGE"


def bracketed(host):
    return f"[{host}]" if ":" in host else host


class Stream:
    """One TCP connection and the bytes that are not a whole message yet."""

    def __init__(self, sock):
        self.sock, self.buffer, self.closed = sock, b"", False
        self.peer = sock.getpeername()[:2]

    def read(self):
        """The messages that are complete now."""
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.closed = not data
        self.buffer += data
        whole = []
        while True:
            self.buffer = self.buffer.lstrip(b"\r\n")
            head, separator, rest = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return whole
            length = int(Message.parse(head + separator).get("Content-Length", "0"))
            if len(rest) < length:
                return whole
            whole.append(head + separator + rest[:length])
            self.buffer = rest[length:]


class Ua:
    """One SIP end point on its own socket. `host` and `port` are where it can be reached."""

    def __init__(self, host="127.0.0.1", transport="UDP", port=0, user="tester"):
        self.host, self.transport, self.user = host, transport.upper(), user
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = socket.SOCK_DGRAM if self.transport == "UDP" else socket.SOCK_STREAM
        self.sock = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        if kind == socket.SOCK_STREAM:
            self.sock.listen(64)
        self.selector.register(self.sock, selectors.EVENT_READ, None)
        self.streams = {}  # far (host, port) -> Stream that we opened
        self.inbox = []  # arrived, not yet asked for
        self.seen = set()
        self.repeats = 0
        self.ladder = []  # what went out (->) and came in (<-), for the error text

    def close(self):
        for stream in self.streams.values():
            stream.sock.close()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    @property
    def hostport(self):
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def contact(self):
        parameter = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"<sip:{self.user}@{self.hostport}{parameter}>"

    # -- the wire -----------------------------------------------------------------------------------------------

    def new_via(self, branch=None):
        return f"SIP/2.0/{self.transport} {self.hostport};branch={branch or 'z9hG4bK' + secrets.token_hex(8)};rport"

    def send(self, message, destination, stream=None):
        """Sends to (host, port), or on the given stream."""
        self.send_bytes(message.to_bytes(), destination, stream, message.first_line)
        return message

    def send_bytes(self, data, destination, stream=None, label=None):
        """Anything at all, for tests of malformed messages."""
        self.ladder.append(f"-> {label or data[:60]!r}")
        if self.transport == "UDP":
            self.sock.sendto(data, destination)
        else:
            (stream or self.stream_to(destination)).sock.sendall(data)

    def stream_to(self, destination):
        """The open stream to that address, or a new one."""
        stream = self.streams.get(destination)
        if stream is None or stream.closed:
            stream = self.streams[destination] = Stream(socket.create_connection(destination, timeout=SECONDS))
            self.selector.register(stream.sock, selectors.EVENT_READ, stream)
        return stream

    def _collect(self, seconds):
        """Puts what arrives within `seconds` (at least one look) into the inbox."""
        for key, _ in self.selector.select(seconds):
            if self.transport == "UDP":
                data, source = self.sock.recvfrom(65536)
                self._arrived(data, source[:2], None)
            elif key.data is None:
                sock, _ = self.sock.accept()
                self.selector.register(sock, selectors.EVENT_READ, Stream(sock))
            else:
                for data in key.data.read():
                    self._arrived(data, key.data.peer, key.data)
                if key.data.closed:
                    self.selector.unregister(key.data.sock)
                    key.data.sock.close()

    def _arrived(self, data, source, stream):
        if not data.strip():
            return
        if data in self.seen:
            self.repeats += 1
            return
        self.seen.add(data)
        message = Message.parse(data)
        message.source, message.channel = source, stream
        self.ladder.append(f"<- {message.first_line}")
        self.inbox.append(message)

    def receive(self, what, matches, seconds=SECONDS, fails=lambda message: False):
        """The first message for which `matches`; `fails` names one that makes further waiting pointless."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self.inbox:
                if matches(message):
                    self.inbox.remove(message)
                    return message
                assert not fails(message), self._report(f"expected {what}, got {message.first_line}", message)
            left = deadline - time.monotonic()
            assert left > 0, self._report(f"expected {what}, not within {seconds} s")
            self._collect(left)

    def has(self, matches):
        """Whether such a message has come, after one look; it stays in the inbox."""
        self._collect(0)
        return any(matches(message) for message in self.inbox)

    def nothing(self, what, matches, seconds):
        """Asserts that no such message comes for `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._collect(left)
            for message in self.inbox:
                assert not matches(message), self._report(f"did not expect {what}, got {message.first_line}", message)

    def _report(self, text, message=None):
        body = f"\n{message.text}" if message else ""
        waiting = [message.first_line for message in self.inbox]
        return f"{self.user}: {text}\nladder:\n  " + "\n  ".join(self.ladder) + f"\nnot asked for: {waiting}{body}"

    # -- requests and calls -------------------------------------------------------------------------------------

    def build(self, method, uri, from_uri=None, to_uri=None, headers=(), body=b"", **parts):
        """A request outside a dialog, complete and correct unless `parts` say otherwise."""
        call_id = parts.get("call_id") or secrets.token_hex(8)
        cseq = parts.get("cseq", 1)
        tag = parts.get("tag") or secrets.token_hex(4)
        from_uri = from_uri or f"sip:{self.user}@{self.hostport}"
        name = f'"{parts["name"]}" ' if parts.get("name") else ""
        lines = [
            ("Via", self.new_via(parts.get("branch"))),
            ("Max-Forwards", str(parts.get("max_forwards", 70))),
            ("From", f"{name}<{from_uri}>;tag={tag}"),
            ("To", f"<{to_uri or uri}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", parts.get("contact") or self.contact),
            *headers,
        ]
        if body:
            lines.append(("Content-Type", parts.get("content_type", "application/sdp")))
        return Message(f"{method} {uri} SIP/2.0", lines, body)

    def ask(self, destination, method, uri, seconds=SECONDS, **parts):
        """Sends a request outside a dialog and returns its final response."""
        request = self.send(self.build(method, uri, **parts), destination)
        return self.response_to(request, seconds)

    def response_to(self, request, seconds=SECONDS, provisional=False):
        """The final response (or, if asked, any) to a request that was sent."""
        return self.receive(
            f"a response to {request.method}",
            lambda m: not m.is_request and m.branch == request.branch and m.method == request.method
            and (m.status >= 200 or provisional),
            seconds,
        )  # fmt: skip

    def register(self, destination, aor, username=None, password=None, headers=(), wrong=False, **parts):
        """REGISTERs `aor` at the switch, answers its challenge if a password is given; the final response."""
        uri = f"sip:{bracketed(destination[0])}:{destination[1]}"
        self.registers = getattr(self, "registers", 0) + 2
        parts.setdefault("call_id", f"registers-{self.user}-{self.port}")
        parts.update(from_uri=aor, to_uri=aor)
        response = self.ask(destination, "REGISTER", uri, headers=headers, cseq=self.registers, **parts)
        if response.status != 401 or password is None:
            return response
        asked = response.get("WWW-Authenticate")
        proof = ("Authorization", digest.answer(asked, username, password, "REGISTER", uri, wrong=wrong))
        return self.ask(destination, "REGISTER", uri, headers=[*headers, proof], cseq=self.registers + 1, **parts)

    def answer_register(self, status, register=None, headers=(), seconds=SECONDS):
        """In the registrar's place: waits for a REGISTER unless one is given, and answers it; the REGISTER."""
        register = register or self.receive("REGISTER", lambda m: m.is_request and m.method == "REGISTER", seconds)
        lines = [("Via", via) for via in register.all("Via")]
        lines += [(name, register.get(name)) for name in ("From", "To", "Call-ID", "CSeq")]
        if status == 200:
            lines.append(("Contact", register.get("Contact")))
        reply = Message(f"SIP/2.0 {status} {REASONS.get(status, 'Whatever')}", [*lines, *headers])
        self.send(reply, register.source, register.channel)
        return register

    def invite(self, destination, to, from_uri=None, body=b"", headers=(), **parts):
        """Sends an INVITE; the Call waits for what comes back."""
        request = self.build("INVITE", to, from_uri=from_uri, headers=[("Allow", ALLOW), *headers], body=body, **parts)
        self.send(request, destination)
        return Call(self, request, destination, caller=True)

    def incoming(self, seconds=SECONDS, trying=True):
        """Waits for a new INVITE, says 100 and returns the Call."""
        request = self.receive("a new INVITE", is_new_invite, seconds)
        call = Call(self, request, request.source, caller=False)
        if trying:
            call.reply(request, 100, tag=False)
        return call

    def no_call(self, seconds=0.5):
        """Asserts that no INVITE comes."""
        self.nothing("an INVITE", is_new_invite, seconds)


def is_new_invite(message):
    return message.is_request and message.method == "INVITE" and param(message.get("To"), "tag") is None


REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 302: "Moved Temporarily", 401: "Unauthorized",
    404: "Not Found", 407: "Proxy Authentication Required", 480: "Temporarily Unavailable", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending", 503: "Service Unavailable",
    600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip


class Call:
    """One call as this agent sees it: one INVITE and the dialog that comes of it."""

    def __init__(self, ua, invite, destination, caller):
        self.ua, self.invite, self.destination, self.caller = ua, invite, destination, caller
        self.call_id = invite.call_id
        self.stream = invite.channel
        if caller:
            self.local, self.remote = invite.get("From"), invite.get("To")
            self.target, self.routes = invite.uri, []
        else:
            self.local = f"{invite.get('To')};tag={secrets.token_hex(4)}"
            self.remote = invite.get("From")
            self.target = uri_of(invite.get("Contact"))
            self.routes = invite.addresses("Record-Route")
        self.cseq = invite.cseq if caller else secrets.randbelow(1000) + 1
        self.response = None  # the last response to the INVITE

    # -- as the caller ------------------------------------------------------------------------------------------

    def expect(self, what, seconds=SECONDS):
        """A status (int) that answers our INVITE, or a method (str) that the far end sends in this call."""
        if isinstance(what, str):
            return self.ua.receive(
                what, lambda m: m.is_request and m.method == what and m.call_id == self.call_id, seconds
            )

        def ours(message):
            return not message.is_request and message.call_id == self.call_id and message.branch == self.invite.branch \
                and message.method == "INVITE"  # fmt: skip

        response = self.ua.receive(
            f"{what}",
            lambda m: ours(m) and m.status == what,
            seconds,
            fails=lambda m: ours(m) and m.status >= 200,
        )
        self._learn(response)
        if what >= 300:
            self.ua.send(self.ack_for_failure(response), self.destination, self.stream)
        return response

    def _learn(self, response):
        self.response = response
        if response.status > 100 and param(response.get("To"), "tag"):
            self.remote = response.get("To")
        if response.status < 300 and response.get("Contact"):
            self.target = uri_of(response.get("Contact"))
            self.routes = list(reversed(response.addresses("Record-Route")))

    def ack_for_failure(self, response):
        """The ACK that a refusal of our INVITE needs; `expect` sends it by itself."""
        names = ("Via", "From", "Call-ID", "Max-Forwards")
        headers = [(name, self.invite.get(name)) for name in names]
        headers += [("To", response.get("To")), ("CSeq", f"{self.invite.cseq} ACK")]
        headers += [(name, value) for name, value in self.invite.headers if name == "Route"]
        return Message(f"ACK {self.invite.uri} SIP/2.0", headers)

    def ack(self, body=b""):
        """ACK for the 2xx."""
        return self.request("ACK", body=body, cseq=self.invite.cseq)

    def cancel(self, headers=()):
        """CANCELs the INVITE and returns the response to the CANCEL."""
        names = ("Via", "From", "To", "Call-ID", "Max-Forwards")
        lines = [(name, self.invite.get(name)) for name in names] + [("CSeq", f"{self.invite.cseq} CANCEL"), *headers]
        request = Message(f"CANCEL {self.invite.uri} SIP/2.0", lines)
        self.ua.send(request, self.destination, self.stream)
        return self.ua.response_to(request)

    def authenticate(self, response, username, password, wrong=False, algorithm=None):
        """Sends the INVITE again with an answer to the challenge in `response` (401 or 407)."""
        status = response.status
        asked = response.all("Proxy-Authenticate" if status == 407 else "WWW-Authenticate")
        if algorithm:
            asked = [one for one in asked if digest.parse(one).get("algorithm", "MD5").upper() == algorithm]
            assert asked, f"no challenge with {algorithm}:\n{response.text}"
        value = digest.answer(asked[0], username, password, "INVITE", self.invite.uri, wrong=wrong)
        self.cseq += 1
        kept = [
            (n, v) for n, v in self.invite.headers if n not in ("Via", "CSeq", "Authorization", "Proxy-Authorization")
        ]
        lines = [("Via", self.ua.new_via()), *kept, ("CSeq", f"{self.cseq} INVITE")]
        lines.append(("Proxy-Authorization" if status == 407 else "Authorization", value))
        self.invite = Message(self.invite.first_line, lines, self.invite.body)
        self.ua.send(self.invite, self.destination, self.stream)

    # -- as the callee ------------------------------------------------------------------------------------------

    def reply(self, request, status, body=b"", headers=(), reason=None, tag=True):
        """Answers a request of this call on the way it came."""
        lines = [("Via", via) for via in request.all("Via")]
        lines += [("Record-Route", value) for value in request.all("Record-Route")]
        to = request.get("To")
        if tag and param(to, "tag") is None:
            to = self.local
        lines += [("From", request.get("From")), ("To", to), ("Call-ID", self.call_id), ("CSeq", request.get("CSeq"))]
        if request.method in ("INVITE", "UPDATE", "PRACK") and status < 300:
            lines.append(("Contact", self.ua.contact))
        lines += list(headers)
        if body:
            lines.append(("Content-Type", "application/sdp"))
        reason = reason or REASONS.get(status, "Whatever")
        self.ua.send(Message(f"SIP/2.0 {status} {reason}", lines, body), request.source, request.channel)

    def answer(self, body=b"", headers=()):
        """200 to the INVITE; returns the ACK."""
        self.reply(self.invite, 200, body, headers=headers)
        return self.expect("ACK")

    # -- in the dialog ------------------------------------------------------------------------------------------

    def build(self, method, body=b"", headers=(), cseq=None, content_type="application/sdp", contact=None):
        """A request in the dialog, not sent yet."""
        if cseq is None:
            self.cseq += 1
        lines = [
            ("Via", self.ua.new_via()),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.routes),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq or self.cseq} {method}"),
            ("Contact", contact or self.ua.contact),
            *headers,
        ]
        if body:
            lines.append(("Content-Type", content_type))
        return Message(f"{method} {self.target} SIP/2.0", lines, body)

    def request(self, method, **parts):
        """Sends a request in the dialog; after a re-INVITE the Call waits for *its* responses."""
        request = self.build(method, **parts)
        destination = address_of(uri_of(self.routes[0]) if self.routes else self.target)
        self.ua.send(request, destination, self._stream_to(destination))
        if method == "INVITE":
            self.invite, self.destination = request, destination
        return request

    def _stream_to(self, destination):
        """The stream the call came in on, while it is open and leads there."""
        if self.stream and not self.stream.closed and self.stream.peer[0] == destination[0]:
            return self.stream
        return None

    def ask(self, method, seconds=SECONDS, **parts):
        """A request in the dialog and its final response."""
        return self.ua.response_to(self.request(method, **parts), seconds)

    def reinvite(self, body=b"", headers=()):
        return self.request("INVITE", body=body, headers=headers)

    def offer(self, other, body, seconds=SECONDS):
        """Our re-INVITE as `other`, the far end's side of the call, hears it. Met by a 491 it is made again, as phones
        do (RFC 3261 section 14.1): what was before may still be on its way somewhere."""
        arrived = lambda m: m.is_request and m.method == "INVITE" and m.call_id == other.call_id  # noqa: E731
        refused = lambda m: not m.is_request and m.branch == self.invite.branch and m.status == 491  # noqa: E731
        deadline = time.monotonic() + seconds
        while True:
            self.reinvite(body)
            wait_until(
                "a re-INVITE there or a 491 here",
                lambda: other.ua.has(arrived) or self.ua.has(refused),
                deadline - time.monotonic(),
            )
            if other.ua.has(arrived):
                return other.expect("INVITE")
            self.expect(491)

    def bye(self, headers=()):
        """Hangs up; the 200 has to come."""
        response = self.ask("BYE", headers=headers)
        assert response.status == 200, response.text
        return response

    def expect_bye(self, seconds=SECONDS):
        """The far end hangs up; we say 200."""
        bye = self.expect("BYE", seconds)
        self.reply(bye, 200)
        return bye
