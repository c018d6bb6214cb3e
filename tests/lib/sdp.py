"""Small SDP bodies and a reader of the few lines that tests look at."""

import re

TELEPHONE_EVENT = 101
CODECS = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", TELEPHONE_EVENT: "telephone-event/8000", 13: "CN/8000"}


def audio(host, port, payloads=(0, 8, TELEPHONE_EVENT), direction="sendrecv", version=1, session=4711, extra=(),
          event=TELEPHONE_EVENT):  # fmt: skip
    """An offer or answer with one audio line; `event` is the number of telephone events, where they are among them."""
    family = "IP6" if ":" in host else "IP4"
    number = lambda payload: event if payload == TELEPHONE_EVENT else payload  # noqa: E731
    lines = [
        "v=0", f"o=tester {session} {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(map(str, (number(payload) for payload in payloads)))}",
        *(f"a=rtpmap:{number(payload)} {CODECS[payload]}" for payload in payloads),
        *([f"a=fmtp:{event} 0-15"] if TELEPHONE_EVENT in payloads else []),
        "a=ptime:20", f"a={direction}", *extra,
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n").encode()


class Sdp:
    """What a body says about its first audio line."""

    def __init__(self, body):
        self.text = body.decode()
        self.lines = self.text.replace("\r\n", "\n").strip().split("\n")

    def _line(self, start):
        return next((line[len(start) :] for line in self.lines if line.startswith(start)), None)

    @property
    def host(self):
        return self._line("c=").split()[2]

    @property
    def port(self):
        return int(self._line("m=audio ").split()[0])

    @property
    def rtp(self):
        return (self.host, self.port)

    @property
    def rtcp(self):
        stated = self._line("a=rtcp:")
        return (self.host, int(stated.split()[0]) if stated else self.port + 1)

    @property
    def payloads(self):
        return [int(word) for word in self._line("m=audio ").split()[2:]]

    @property
    def event(self):
        """The payload type of telephone events; None where there are none."""
        found = [line for line in self.lines if line.startswith("a=rtpmap:") and "telephone-event/8000" in line]
        return int(found[0][len("a=rtpmap:") :].split()[0]) if found else None

    @property
    def direction(self):
        found = [line[2:] for line in self.lines if re.fullmatch(r"a=(sendrecv|sendonly|recvonly|inactive)", line)]
        return found[-1] if found else "sendrecv"

    @property
    def origin(self):
        """(session identifier, version)"""
        words = self._line("o=").split()
        return words[1], int(words[2])

    def has(self, line):
        return line in self.lines
