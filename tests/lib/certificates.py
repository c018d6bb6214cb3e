"""Certificates for tests of TLS: an authority and what it signs, made by openssl."""

import pathlib
import subprocess

from .peers import program


class Authority:
    """A certificate authority in `folder`; its own certificate is `self.certificate`."""

    def __init__(self, folder, name="tests"):
        self.folder = pathlib.Path(folder)
        self.certificate, self.key = self.folder / f"{name}-ca.pem", self.folder / f"{name}-ca.key"
        openssl("req", "-x509", *NEW_KEY, "-keyout", self.key, "-out", self.certificate, "-subj", f"/CN={name} authority",
                "-days", 2, "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip

    def sign(self, name, alternatives=("IP:127.0.0.1", "DNS:localhost")):
        """(certificate, key), both PEM files, for a server or a client that has these names."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        openssl("req", "-x509", *NEW_KEY, "-keyout", key, "-out", certificate, "-subj", f"/CN={name}", "-days", 2,
                "-CA", self.certificate, "-CAkey", self.key, "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "subjectAltName=" + ",".join(alternatives))  # fmt: skip
        return certificate, key


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments):
    done = subprocess.run([program("openssl"), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {arguments}:\n{done.stderr}"
