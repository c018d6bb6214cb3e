"""SIP messages as a test wants them: easy to look into, easy to write, easy to get wrong on purpose."""

import re

COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type",
    "k": "supported", "o": "event", "r": "refer-to", "s": "subject", "u": "allow-events", "x": "session-expires",
}  # fmt: skip


class Message:
    """One request or response. `headers` keeps (name, value) pairs in order; names compare without case."""

    def __init__(self, first_line, headers=(), body=b""):
        self.first_line = first_line
        self.headers = list(headers)
        self.body = body
        self.source = None  # (host, port) it came from
        self.channel = None  # the socket it came in on, to answer on the same stream
        self.raw_head = None  # of one that came in: its lines as they came, nothing unfolded

    @classmethod
    def parse(cls, data):
        head, _, body = data.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode(errors="replace")).split("\r\n")
        headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        message = cls(lines[0], headers, body)
        message.raw_head = head.decode(errors="surrogateescape")
        return message

    def to_bytes(self):
        head = [self.first_line] + [f"{name}: {value}" for name, value in self.headers]
        if self.get("Content-Length") is None:
            head.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + self.body

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def is_request(self):
        return not self.first_line.startswith("SIP/2.0 ")

    @property
    def method(self):
        """Of a request its method; of a response the method it answers."""
        return self.first_line.split()[0] if self.is_request else self.get("CSeq", "0 ?").split()[-1]

    @property
    def status(self):
        return None if self.is_request else int(self.first_line.split()[1])

    @property
    def uri(self):
        return self.first_line.split()[1] if self.is_request else None

    @property
    def cseq(self):
        return int(self.get("CSeq").split()[0])

    @property
    def call_id(self):
        return self.get("Call-ID")

    def all(self, name):
        wanted = name.lower()
        return [value for found, value in self.headers if COMPACT.get(found.lower(), found.lower()) == wanted]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    def tokens(self, name):
        """A comma-separated header as a list of words."""
        return [word.strip() for value in self.all(name) for word in value.split(",") if word.strip()]

    def addresses(self, name):
        """A header that lists addresses (Contact, Route, Record-Route), split where a comma separates entries."""
        return [part.strip() for value in self.all(name) for part in re.split(r",(?=\s*(?:\"[^\"]*\"\s*)?<)", value)]

    @property
    def branch(self):
        via = self.get("Via", "")
        return param(via, "branch")

    @property
    def text(self):
        return self.to_bytes().decode(errors="replace")

    def __repr__(self):
        return f"<{self.first_line} | {self.get('CSeq')} | {self.call_id}>"


def param(value, name):
    """A parameter of a header value, outside its angle brackets: param('<sip:a@b;x=1>;tag=9', 'tag') is '9'."""
    outside = value.rsplit(">", 1)[-1]
    match = re.search(rf"(?:^|;)\s*{re.escape(name)}(?:\s*=\s*\"?([^\s;,\"]*)\"?)?", outside, re.IGNORECASE)
    return None if match is None else (match.group(1) or "")


def uri_of(value):
    """The URI of a From, To, Contact, Route …"""
    match = re.search(r"<([^>]*)>", value)
    return match.group(1) if match else value.split(";")[0].strip()


def user_of(uri):
    """The user part of a SIP URI, or an empty string."""
    rest = uri.split(":", 1)[1]
    return rest.split("@", 1)[0] if "@" in rest else ""


def host_of(uri):
    """The host of a SIP URI, without port and parameters; an IPv6 address keeps its brackets."""
    rest = uri.split(":", 1)[1].split("@", 1)[-1]
    return re.match(r"\[[^\]]*\]|[^:;?>]*", rest).group(0)


def address_of(uri, default_port=5060):
    """(host, port) to send to for a SIP URI with a literal host."""
    rest = uri.split(":", 1)[1].split("@", 1)[-1]
    match = re.match(r"(\[[^\]]*\]|[^:;?>]*)(?::(\d+))?", rest)
    return match.group(1).strip("[]"), int(match.group(2) or default_port)
