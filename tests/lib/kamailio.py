"""Kamailio in a carrier's place: as a proxy that sends every call to one phone, or as a registrar."""

import pathlib
import socket
import subprocess

from .peers import program, stop
from .ports import free_port
from .waiting import wait_until

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "kamailio"


class Kamailio:
    """One Kamailio on a free loopback port with a configuration of ours and the words that it leaves open.

    It listens on UDP, with `tcp` also on TCP at the same port, with `tls`, a (certificate, key), also on `tls_port`.
    """

    def __init__(self, folder, config, tcp=False, tls=None, **words):
        self.host, self.port, self.tls_port = "127.0.0.1", free_port(), None
        self.folder = pathlib.Path(folder)
        self.command = [
            program("kamailio"), "-f", str(CONFIGS / config), "-DD", "-E", "-m", "64", "-M", "8", "-w", str(folder), "-Y", str(folder),
            "-l", f"udp:{self.host}:{self.port}",
        ]  # fmt: skip
        if tcp:
            self.command += ["-l", f"tcp:{self.host}:{self.port}"]
        if tls:
            self.tls_port = free_port()
            self.command += ["-l", f"tls:{self.host}:{self.tls_port}", "-A", "WITH_TLS"]
            words["TLS_CERTIFICATE"], words["TLS_KEY"] = tls
        for name, value in words.items():
            self.command += ["-A", f"{name}={value}" if isinstance(value, int) else f'{name}="{value}"']
        self.process = None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def start(self):
        with open(self.folder / "kamailio.log", "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("Kamailio answers OPTIONS", self.alive, 15)
        return self

    def alive(self):
        assert self.process.poll() is None, (self.folder / "kamailio.log").read_text()[-3000:]
        request = (
            f"OPTIONS sip:{self.address} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKprobe;rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:{self.address}>\r\n"
            "Call-ID: probe\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.3)
            try:
                probe.sendto(request.encode(), (self.host, self.port))
                return probe.recv(4096).startswith(b"SIP/2.0 200")
            except OSError:
                return False

    def stop(self):
        stop(self.process)

    def evidence(self):
        return (self.folder / "kamailio.log").read_text(errors="replace")[-6000:]


def proxy(folder, next_hop):
    """A carrier's edge that relays new calls to `next_hop` (host:port)."""
    return Kamailio(folder, "proxy.cfg", NEXT_HOP=f"sip:{next_hop}")


def registrar(folder, username, password):
    """A carrier that wants to be registered with, and sends calls for `username` there."""
    return Kamailio(folder, "registrar.cfg", USERNAME=username, PASSWORD=password)


def carrier(folder, username, password, realm, gateway_port, tls=None, rtpengine=None, profile="RTP/AVP",
            granted=600):  # fmt: skip
    """A whole carrier: registrar, digest for every INVITE, record-routing, a gateway at `gateway_port` on loopback; with
    an `rtpengine`, its relay in the path of the media, which offers the trunk `profile`."""
    media = {"RTPENGINE": f"udp:{rtpengine.control}", "PROFILE": profile} if rtpengine else {}
    return Kamailio(folder, "carrier.cfg", tcp=True, tls=tls, USERNAME=username, PASSWORD=password, REALM=realm,
                    GATEWAY=gateway_port, GRANTED=granted, **media)  # fmt: skip
