"""A fake of Gotify's API for messages (POST /message)."""

import re
import secrets

from push_fakes import Answer, PushFake, Refused

_NAMES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
          429: "Too Many Requests", 500: "Internal Server Error"}
_FIELDS = {"message": str, "title": str, "priority": int, "extras": dict}


def gotify_error(status, description=None, **headers):
    """An error in Gotify's own form."""
    name = _NAMES.get(status, "Error")
    return Answer(
        status, {"error": name, "errorCode": status, "errorDescription": description or name},
        headers)


class FakeGotify(PushFake):
    """Its tokens are those of applications."""

    def __init__(self, authority, name="localhost"):
        super().__init__(authority, name)
        self.applications = {}

    def add_application(self, priority=0):
        """A token, and the priority of messages that say none."""
        token = "A" + secrets.token_urlsafe(16).replace("-", "a").replace("_", "b")[:14]
        self.applications[token] = priority
        return token

    def check_rules(self, request):
        request.token = _token(request)
        if request.path != "/message":
            _refuse(404, "page not found", f"the path is {request.path}")
        if request.method != "POST":
            _refuse(404, "page not found", f"the method is {request.method}")
        if not request.token:
            _refuse(401, _UNAUTHORIZED, "there is no token")
        # Whether it is known is said before the body is read.
        if request.token not in self.applications:
            raise Refused(gotify_error(401, _UNAUTHORIZED))
        kind = request.header("content-type", "").split(";")[0]
        if kind != "application/json":
            _refuse(400, "Field 'message' is required", f"the type is {kind!r}")
        document = request.json()
        if not isinstance(document, dict):
            _refuse(400, "invalid character", "the body is no JSON object")
        for name, value in document.items():
            if name not in _FIELDS:
                _refuse(400, f"unknown field {name}", f"there is no field {name}")
            null = value is None and name in ("priority", "title", "extras")
            if not null and (not isinstance(value, _FIELDS[name]) or isinstance(value, bool)):
                _refuse(400, f"cannot unmarshal {name}", f"{name} is {value!r}")
        if not document.get("message"):
            _refuse(400, "Field 'message' is required", "there is no message")
        for name in document.get("extras") or {}:
            if not re.fullmatch(r"[^:\s]+::[^:\s]+", name):
                _refuse(400, "extras", f"{name!r} has no namespace")
        request.payload = document

    def serve(self, request):
        document = request.payload
        priority = document.get("priority")
        return Answer(200, {
            "id": len(self.requests), "appid": list(self.applications).index(request.token) + 1,
            "message": document["message"], "title": document.get("title") or "",
            "priority": self.applications[request.token] if priority is None else priority,
            "extras": document.get("extras") or {}, "date": "2026-01-01T00:00:00Z"})

    def over_quota(self):
        # Gotify has none; what stands in front of it does.
        return gotify_error(429, "too many requests")


_UNAUTHORIZED = "you need to provide a valid access token or user credentials to access this api"


def _token(request):
    """The first of the three places."""
    kind, _, bearer = request.header("authorization", "").partition(" ")
    return request.header("x-gotify-key") or request.query.get("token") or (
        bearer if kind.lower() == "bearer" else None)


def _refuse(status, description, text):
    raise Refused(gotify_error(status, description), status, text)
