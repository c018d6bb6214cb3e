"""Digest authentication (RFC 7616, RFC 8760), both sides, as far as tests need it."""

import hashlib
import re
import secrets

HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def parse(value):
    """The parameters of a challenge or of credentials, e.g. `Digest realm="x", nonce="y", qop="auth"`."""
    found = re.findall(r"([\w-]+)\s*=\s*(?:\"([^\"]*)\"|([^\s,]+))", value.partition(" ")[2])
    return {name.lower(): quoted or bare for name, quoted, bare in found}


def _hash(algorithm, *parts):
    return HASHES[algorithm](":".join(parts).encode()).hexdigest()


def answer(challenge, username, password, method, uri, count=1, wrong=False):
    """The value of (Proxy-)Authorization that answers `challenge`."""
    given = parse(challenge)
    algorithm = given.get("algorithm", "MD5").upper()
    secret = _hash(algorithm, username, given["realm"], password)
    request = _hash(algorithm, method, uri)
    fields = [f'username="{username}"', f'realm="{given["realm"]}"', f'nonce="{given["nonce"]}"', f'uri="{uri}"']
    if "qop" in given:
        cnonce, nc = secrets.token_hex(8), f"{count:08x}"
        response = _hash(algorithm, secret, given["nonce"], nc, cnonce, "auth", request)
        fields += [f'cnonce="{cnonce}"', f"nc={nc}", "qop=auth"]
    else:
        response = _hash(algorithm, secret, given["nonce"], request)
    if wrong:
        response = "0" * len(response)
    fields += [f'response="{response}"', f"algorithm={algorithm}"]
    if "opaque" in given:
        fields.append(f'opaque="{given["opaque"]}"')
    return "Digest " + ", ".join(fields)


def challenge(realm, algorithm="MD5", qop=True, stale=False, nonce=None):
    """A challenge of our own, for the carrier's seat."""
    extra = (', qop="auth"' if qop else "") + (", stale=true" if stale else "")
    return f'Digest realm="{realm}", nonce="{nonce or secrets.token_hex(12)}", algorithm={algorithm}{extra}'


def correct(credentials, username, password, method):
    """Whether the credentials that came in prove the password."""
    given = parse(credentials)
    algorithm = given.get("algorithm", "MD5").upper()
    if given.get("username") != username:
        return False
    secret = _hash(algorithm, username, given["realm"], password)
    request = _hash(algorithm, method, given["uri"])
    if "qop" in given:
        wanted = _hash(algorithm, secret, given["nonce"], given["nc"], given["cnonce"], given["qop"], request)
    else:
        wanted = _hash(algorithm, secret, given["nonce"], request)
    return given["response"] == wanted
