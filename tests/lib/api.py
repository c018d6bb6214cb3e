"""A plain HTTP client of the API: urllib, nothing clever, no retries."""

import json
import urllib.error
import urllib.parse
import urllib.request

BASE = "/ns-api/v2"


class Answer:
    """Status, headers (case-insensitive) and body of one HTTP answer; `json` is the parsed body or None."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def message(self):
        """The text of an error body."""
        return (self.json or {}).get("message", "") if isinstance(self.json, dict) else ""

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


class Api:
    """Speaks to `http://host:port/ns-api/v2` with one key (or none)."""

    def __init__(self, origin, key=None):
        self.origin, self.key = origin, key

    def with_key(self, key):
        return Api(self.origin, key)

    def request(self, method, path, body=None, headers=None, base=BASE, form=False, raw=None, timeout=30):
        """One request. `body` is sent as JSON, or as a form if `form`; `raw` are bytes sent as they are."""
        send = dict(headers or {})
        data = raw
        if body is not None:
            data = urllib.parse.urlencode(body).encode() if form else json.dumps(body).encode()
            send.setdefault("Content-Type", "application/x-www-form-urlencoded" if form else "application/json")
        if self.key and not any(name.lower() == "authorization" for name in send):
            send["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.origin + base + path, data=data, method=method, headers=send)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode())

    def get(self, path, **query):
        text = urllib.parse.urlencode(query)
        return self.request("GET", f"{path}?{text}" if text else path)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def put(self, path, body, **more):
        return self.request("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def create(self, path, body):
        """POST that has to succeed."""
        answer = self.post(path, body)
        assert answer.status in (200, 202), f"POST {path}: {answer}"
        return answer.json


def quoted(text):
    """One path segment, percent-encoded: patterns hold `*`, `@`, `/`."""
    return urllib.parse.quote(text, safe="")


def new_key(api, domain="*", scope="Super User", **fields):
    """The answer of POST /apikeys as JSON, with the key in clear."""
    body = {"description": "made by a test run", "reseller": "*", "domain": domain, "user-scope": scope}
    body.update({name.replace("_", "-"): value for name, value in fields.items()})
    answer = api.post("/apikeys", body)
    assert answer.status == 200, answer
    return answer.json
