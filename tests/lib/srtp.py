"""The sending half of SRTP (RFC 3711) with AES_CM_128_HMAC_SHA1_80, in plain Python: nothing else has to be installed.

Slow, about a millisecond for a packet of 20 ms: seal the packets before the call.
"""

import base64
import hashlib
import hmac
import secrets
import struct

SUITE = "AES_CM_128_HMAC_SHA1_80"
TAG_BYTES = 10


def _times(a, b):
    """In the field of AES: modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _box():
    """The S-box: the inverse in the field, then an affine map."""
    inverse = [0] * 256
    for a in range(1, 256):
        inverse[a] = next(b for b in range(1, 256) if _times(a, b) == 1)
    rotated = lambda b, n: (b << n | b >> 8 - n) & 0xFF  # noqa: E731
    return [b ^ rotated(b, 1) ^ rotated(b, 2) ^ rotated(b, 3) ^ rotated(b, 4) ^ 0x63 for b in inverse]


BOX = _box()
DOUBLE = [_times(byte, 2) for byte in range(256)]


class Aes128:
    """The block cipher, one way."""

    def __init__(self, key):
        words, round_constant = [list(key[at : at + 4]) for at in range(0, 16, 4)], 1
        for at in range(4, 44):
            word = words[at - 1]
            if at % 4 == 0:
                word = [BOX[byte] for byte in word[1:] + word[:1]]
                word[0] ^= round_constant
                round_constant = DOUBLE[round_constant]
            words.append([a ^ b for a, b in zip(words[at - 4], word)])
        self.rounds = [sum(words[at : at + 4], []) for at in range(0, 44, 4)]

    def encrypt(self, block):
        state = [a ^ b for a, b in zip(block, self.rounds[0])]
        for number, key in enumerate(self.rounds[1:], 1):
            state = [BOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16)]
            if number < 10:
                state = [mixed for at in range(0, 16, 4) for mixed in _mix(state[at : at + 4])]
            state = [a ^ b for a, b in zip(state, key)]
        return bytes(state)

    def stream(self, start, length):
        """Key stream of counter mode: `start` is the first block as a number of 128 bits."""
        blocks = range(-(-length // 16))
        return b"".join(self.encrypt((start + number).to_bytes(16, "big")) for number in blocks)[:length]


def _mix(column):
    whole = column[0] ^ column[1] ^ column[2] ^ column[3]
    return [byte ^ whole ^ DOUBLE[byte ^ column[(at + 1) % 4]] for at, byte in enumerate(column)]


class Sender:
    """One stream's keys, made up or given, and their line for a description."""

    def __init__(self, master=None):
        self.master = master or secrets.token_bytes(30)
        key, salt = self.master[:16], int.from_bytes(self.master[16:], "big")
        derive = lambda label, length: Aes128(key).stream((salt ^ label << 48) << 16, length)  # noqa: E731
        self.cipher = Aes128(derive(0, 16))
        self.authentication = derive(1, 20)
        self.salt = int.from_bytes(derive(2, 14), "big")

    @property
    def crypto(self):
        return f"a=crypto:1 {SUITE} inline:{base64.b64encode(self.master).decode()}"

    def seal(self, packet, rollovers=0):
        """An RTP packet without extension, sealed."""
        sequence, ssrc = struct.unpack("!H4xI", packet[2:12])
        index = rollovers << 16 | sequence
        stream = self.cipher.stream(self.salt << 16 ^ ssrc << 64 ^ index << 16, len(packet) - 12)
        sealed = packet[:12] + bytes(a ^ b for a, b in zip(packet[12:], stream))
        tag = hmac.new(self.authentication, sealed + struct.pack("!I", rollovers), hashlib.sha1).digest()
        return sealed + tag[:TAG_BYTES]
