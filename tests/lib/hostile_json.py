"""Values that an API must not take, made from its own OpenAPI document."""

import itertools
import json

# What text without a length of its own may have; the document does not repeat it at every field.
MAX_TEXT_CHARS = 512

# Never to be taken by a field of text, whatever it means. All of them would break a line of SIP, or are no text.
BROKEN_TEXT = {
    "a line break and a header": "x\r\nX-Injected: yes",
    "a line feed": "x\nX-Injected: yes",
    "a carriage return": "x\rX-Injected: yes",
    "NUL": "x\0y",
    "DEL": "x\x7fy",
    "a tab": "x\ty",
    "the control character NEL": "x\x85y",
    "an escape sequence": "\x1b[2J",
    "a list": ["x"],
    "an object": {"x": {"y": "z"}},
    "a fraction": 1.5,
}

# Odd, but text: a field may take it, and then has to give it back as it came.
ODD_TEXT = (
    "'; DROP TABLE connections; --",
    "\" OR 1=1 --",
    "x%0d%0aX-Injected:%20yes",
    "\\r\\nX-Injected: yes",
    "\"><sip:evil@192.0.2.66>;tag=1",
    "<script>alert(1)</script>",
    "{{7*7}} ${jndi:ldap://x} $(reboot) `id` %s%n",
    "../../etc/passwd",
    "Zoë 東京 \u202eabc\u202c \U0001f4de e\u0301",
    "x\u2028X-Injected: yes",
    "  both ends  ",
    "<LT>sip:x@y<GT>",
    "[*][!!*]<OwnDomain>",
    "NaN",
    "null",
)

BROKEN_NUMBERS = {
    "a word": "many",
    "a fraction": 1.5,
    "nothing": "",
    "two to the power of 63": 2**63,
    "a number of 400 digits": "9" * 400,
    "a list": [1],
    "an object": {"x": 1},
    "true": True,
    "hexadecimal": "0x10",
    "SQL": "1; DROP TABLE connections",
}


class Document:
    """The OpenAPI document that the switch serves."""

    def __init__(self, document):
        self.document = document

    def operations(self, *methods):
        """(method, path, operation) for each operation with one of these methods."""
        for path, lines in sorted(self.document["paths"].items()):
            for method in methods:
                if method in lines:
                    yield method.upper(), path, lines[method]

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def body(self, operation):
        """The schema of an operation's body."""
        return self.resolve(operation["requestBody"]["content"]["application/json"]["schema"])


def writable(schema):
    """(name, schema) of the fields that a client may set and that mean something."""
    for name, field in schema["properties"].items():
        if not field.get("readOnly") and (types(field) or "anyOf" in field):
            yield name, field


def types(field):
    kind = field.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def is_number(field):
    return "integer" in types(field) or "number" in types(field)


def broken_values(field):
    """{what it is: a value that this field must refuse}"""
    if is_number(field):
        values = dict(BROKEN_NUMBERS)
        if "number" in types(field):
            values = {what: value for what, value in values.items() if value != 1.5}
        if "minimum" in field:
            values["less than the least"] = field["minimum"] - 1
        values["more than the most"] = field.get("maximum", 2**31 - 1) + 1
    else:
        values = dict(BROKEN_TEXT)
        choice = field.get("enum") or any("array" in types(one) for one in field.get("anyOf", []))
        if choice:
            values["no word of the list"] = "moon"
        longest = field.get("maxLength", MAX_TEXT_CHARS)
        values["a character too many"] = "x" * (longest + 1)
        values["a character too many, of several bytes"] = "é" * (longest + 1)
        if field.get("minLength"):
            values["nothing"] = ""
        if any("array" in types(one) for one in field.get("anyOf", [])):
            values["a list"] = [["x"]]
    if "null" not in types(field):
        values["null"] = None
    return values


def with_value(body, name, value):
    return json.dumps({**body, name: value}).encode()


def broken_bodies(body, name):
    """{what it is: bytes that are no usable body}; `body` is a valid one, `name` a field of text in it."""
    whole = json.dumps(body)
    quoted = json.dumps(name)
    deep = "[" * 100_000 + "]" * 100_000
    return {
        "nothing": b"",
        "cut off": whole[:-1].encode(),
        "cut off in a text": whole[: whole.rindex('"')].encode(),
        "something behind it": whole.encode() + b"{}",
        "a list": b"[" + whole.encode() + b"]",
        "a lone surrogate": whole[:-1].encode() + f', {quoted}: "\\ud800"}}'.encode(),
        "surrogates the wrong way round": whole[:-1].encode() + b', "x": "\\udc00\\ud800"}',
        "bytes that are no UTF-8": whole[:-1].encode() + b', "x": "\xff\xfe"}',
        "an overlong slash": whole[:-1].encode() + b', "x": "\xc0\xaf"}',
        "UTF-16": whole.encode("utf-16"),
        "a raw NUL": whole.encode()[:-1] + b', "x": "\0"}',
        "a raw line break in a text": whole.encode()[:-1] + b', "x": "a\r\nb"}',
        "a field twice": f'{{{quoted}: "a", {whole[1:]}'.encode(),
        "a field twice, once escaped": f'{{"{escaped(name)}": "a", {whole[1:]}'.encode(),
        "deep nesting": f'{whole[:-1]}, "x": {deep}}}'.encode(),
        "a number beyond all": whole[:-1].encode() + b', "x": 1e999}',
        "NaN": whole[:-1].encode() + b', "x": NaN}',
        "a comment": whole[:-1].encode() + b" /* x */}",
        "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    }


def escaped(name):
    return "".join(f"\\u{ord(character):04x}" for character in name)


def counted(prefix):
    """Names that are new each time."""
    numbers = itertools.count()
    return lambda: f"{prefix}{next(numbers)}"
