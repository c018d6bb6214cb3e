"""Valid SIP made wrong by a seeded generator: the same seed makes the same messages."""

import random

# Pieces that parsers stumble over.
NASTY = (
    b"\r\n", b"\n", b"\0", b"\xff\xfe", b"%00", b"%", b"\"", b"<", b">", b";", b",", b":", b"@", b" ", b"\t", b"\r\n ",
    b"4294967296", b"-1", b"99999999999999999999", b"sip:", b"[::1]", b"[", b"SIP/2.0", b"z9hG4bK", b"A" * 300, b"\xc3\x28",
)  # fmt: skip
NAMES = (
    b"Via", b"v", b"From", b"To", b"Call-ID", b"CSeq", b"Contact", b"Max-Forwards", b"Content-Length", b"l",
    b"Content-Type", b"Route", b"Record-Route", b"Require", b"Authorization", b"Session-Expires", b"RAck", b"Replaces",
    b"Expires", b"Date", b"Supported", b"P-Asserted-Identity", b"Identity", b"Reason", b"Diversion", b"History-Info",
)  # fmt: skip


class Mutator:
    """Endless variations of `seeds`, a list of whole messages as bytes."""

    def __init__(self, seeds, seed):
        self.seeds, self.random = list(seeds), random.Random(seed)

    def next(self):
        data = bytearray(self.random.choice(self.seeds))
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            data = self.random.choice(self.WAYS)(self, data)
        return bytes(data[:65_000])

    def _place(self, data):
        return self.random.randrange(len(data) + 1)

    def flip(self, data):
        for _ in range(self.random.randrange(1, 6)):
            if data:
                data[self.random.randrange(len(data))] = self.random.randrange(256)
        return data

    def insert(self, data):
        place = self._place(data)
        data[place:place] = self.random.choice(NASTY)
        return data

    def cut(self, data):
        return data[: self._place(data)]

    def remove(self, data):
        start = self._place(data)
        del data[start : start + self.random.choice((1, 4, 40))]
        return data

    def lines(self, data):
        """A line is left out, doubled or moved."""
        lines = bytes(data).split(b"\r\n")
        index = self.random.randrange(len(lines))
        line = lines.pop(index)
        for _ in range(self.random.choice((0, 2, 2, 30))):
            lines.insert(self.random.randrange(len(lines) + 1), line)
        return bytearray(b"\r\n".join(lines))

    def header(self, data):
        """A header of any name with a value of any kind, behind the first line."""
        first, _, rest = bytes(data).partition(b"\r\n")
        value = b"".join(self.random.choice(NASTY) for _ in range(self.random.randrange(4)))
        return bytearray(first + b"\r\n" + self.random.choice(NAMES) + b": " + value + b"\r\n" + rest)

    def splice(self, data):
        other = self.random.choice(self.seeds)
        return data[: self._place(data)] + other[self.random.randrange(len(other)) :]

    def repeat(self, data):
        start = self._place(data)
        return data[:start] + data[start : start + 30] * self.random.choice((2, 20, 400)) + data[start:]

    WAYS = (flip, insert, insert, cut, remove, lines, lines, header, header, splice, repeat)
