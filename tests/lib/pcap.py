"""Captures of RTP that SIPp can play: what a sniffer would have written of a phone that plays a tone."""

import struct

from . import audio
from .rtp import PTIME_SECONDS, SAMPLES, packet

ETHERNET = 1  # the link type of the file; SIPp reads no other so surely


def write_tone(path, frequency_hz, seconds, payload_type=0, ssrc=0x70636170):
    """A tone in G.711, one packet of 20 ms after the other. SIPp puts in its own addresses and ports."""
    coded = audio.LAWS[payload_type].encode(audio.tone(frequency_hz, seconds))
    pieces = [coded[start : start + SAMPLES] for start in range(0, len(coded), SAMPLES)]
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, ETHERNET))
        for number, piece in enumerate(pieces):
            frame = _frame(packet(payload_type, number, number * SAMPLES, ssrc, piece, marker=number == 0))
            microseconds = round(number * PTIME_SECONDS * 1e6)
            stamp = (1_700_000_000 + microseconds // 1_000_000, microseconds % 1_000_000)
            file.write(struct.pack("<IIII", *stamp, len(frame), len(frame)) + frame)


def _frame(rtp):
    """Ethernet, IPv4 and UDP around the packet; the checksums are left to who sends it."""
    udp = struct.pack("!HHHH", 4000, 5000, 8 + len(rtp), 0) + rtp
    loopback = bytes([127, 0, 0, 1])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + loopback + loopback
    return bytes(12) + b"\x08\x00" + ip + udp
