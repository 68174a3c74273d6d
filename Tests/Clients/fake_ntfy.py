"""A fake of ntfy: messages to topics, by header or as JSON, and as a service for UnifiedPush."""

import base64
import binascii
import re
import secrets
from typing import NamedTuple

from push_fakes import Answer, PushFake, Refused

MOST_BODY = 4096
# Where one may say each thing in a header; X-Title is Title and t.
_ALIASES = {
    "title": ("title", "ti", "t"), "priority": ("priority", "prio", "p"),
    "tags": ("tags", "tag", "ta"), "click": ("click",), "actions": ("actions", "action"),
    "icon": ("icon",), "delay": ("delay", "at", "in"), "markdown": ("markdown", "md"),
    "cache": ("cache",), "firebase": ("firebase",), "up": ("unifiedpush", "up"),
    "message": ("message", "m")}
_NAMES = {
    name: key for key, names in _ALIASES.items() for alias in names
    for name in (alias, f"x-{alias}")}
_PRIORITIES = {
    **{str(number): number for number in range(1, 6)},
    "min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}
_SWITCHES = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}
_FIELDS = {
    "topic": str, "message": str, "title": str, "priority": int, "tags": list, "click": str,
    "actions": list, "icon": str, "delay": str, "markdown": bool, "attach": str,
    "filename": str, "email": str, "call": str, "cache": str, "firebase": str}
# What ntfy says of a code, and where that is explained.
CODES = {
    40006: ("invalid delay parameter", "publish/#scheduled-delivery"),
    40007: ("invalid request: priority invalid", "publish/#message-priority"),
    40009: ("invalid request: topic invalid", ""),
    40024: ("invalid request: request body must be valid JSON", "publish/#publish-as-json"),
    40101: ("unauthorized", "publish/#authentication"),
    40301: ("forbidden", "publish/#authentication"),
    40401: ("page not found", ""),
    41301: ("attachment too large, or bandwidth limit reached", "publish/#limitations"),
    42901: ("limit reached: too many requests", "publish/#limitations"),
    42908: ("limit reached: daily message quota reached", "publish/#limitations"),
    50001: ("internal server error", ""),
    50701: ("cannot publish to UnifiedPush topic without previously active subscriber",
            "publish/#unifiedpush"),
}


def ntfy_error(code, **headers):
    """An error in ntfy's own form."""
    text, page = CODES[code]
    body = {"code": code, "http": code // 100, "error": text}
    if page:
        body["link"] = f"https://ntfy.sh/docs/{page}"
    return Answer(code // 100, body, headers)


class Rate(NamedTuple):
    """So many requests at once, then one each so many seconds."""

    burst: int = 60
    pause: float = 5


class FakeNtfy(PushFake):
    """Its tokens are topics. Who may publish is what `bearer` and `user` (a name and a password)
    say; anybody, if neither is set. `rate` is a `Rate`, or no limit."""

    def __init__(self, authority, name="localhost", bearer=None, user=None, rate=None):
        super().__init__(authority, name)
        self.bearer, self.user, self.rate = bearer, user, rate
        self.forbidden = set()
        # Topics of UnifiedPush that nobody listens to.
        self.deserted = set()
        self._room = None
        self._since = 0

    @staticmethod
    def new_topic(is_unified_push=False):
        text = secrets.token_hex(16)
        return f"up{text[:12]}" if is_unified_push else f"kinglet-{text}"

    # Rules

    def check_rules(self, request):
        if request.method == "GET" and "up" in request.query:
            raise Refused(Answer(200, {"unifiedpush": {"version": 1}}, delivers=False))
        if request.method not in ("POST", "PUT"):
            _refuse(40401, f"the method is {request.method}")
        document = request.json() if request.path == "/" else None
        if document is not None:
            request.token = document.get("topic") if isinstance(document, dict) else None
        else:
            request.token = request.path[1:]
        self._check_authorization(request)
        if request.path == "/":
            request.payload = self._checked_document(document)
        else:
            request.payload = self._checked_headers(request)
        if not isinstance(request.token, str) \
                or not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", request.token):
            _refuse(40009, f"the topic is {request.token!r}")
        if "delay" in request.payload and "cache" in request.payload:
            _refuse(40006, "a delay without a cache")

    def _check_authorization(self, request):
        value = request.header("authorization")
        if value is None and "auth" in request.query:
            try:
                value = _unbase64url(request.query["auth"])
            except (ValueError, binascii.Error):
                _refuse(40101, "?auth= is no base64url")
        if value is None:
            if self.bearer or self.user:
                raise Refused(ntfy_error(40101))
            return
        kind, _, credential = value.partition(" ")
        if kind == "Basic":
            try:
                # A token may stand in for the password, without a name.
                user = tuple(base64.b64decode(credential, validate=True).decode().split(":", 1))
            except (ValueError, binascii.Error):
                _refuse(40101, "Basic without base64")
            is_good = user in (self.user, ("", self.bearer))
        elif kind == "Bearer":
            is_good = credential == self.bearer
        else:
            _refuse(40101, f"the scheme is {kind!r}")
        if not is_good:
            raise Refused(ntfy_error(40101))

    def _checked_headers(self, request):
        said = {}
        for name, value in [*request.headers, *request.query.items()]:
            key = _NAMES.get(name.lower())
            if key is None:
                if name.startswith("x-"):
                    _refuse(40024, f"ntfy has no header {name}")
            elif key in said:
                _refuse(40024, f"{key} is said twice")
            else:
                said[key] = value
        for key in said.keys() & {"cache", "firebase", "up", "markdown"}:
            if said[key].lower() not in _SWITCHES:
                _refuse(40024, f"{key} is {said[key]!r}")
            said[key] = _SWITCHES[said[key].lower()]
        if "priority" in said:
            if said["priority"].lower() not in _PRIORITIES:
                _refuse(40007, f"the priority is {said['priority']!r}")
            said["priority"] = _PRIORITIES[said["priority"].lower()]
        if "tags" in said:
            said["tags"] = said["tags"].split(",")
        # The rest would become an attachment, which nobody has asked for.
        if len(request.body) > MOST_BODY:
            _refuse(41301, f"{len(request.body)} bytes")
        if said.get("up"):
            said["body"] = request.body
        else:
            try:
                said.setdefault("message", request.body.decode())
            except UnicodeDecodeError:
                _refuse(41301, "what is no UTF-8 becomes an attachment")
        return said

    def _checked_document(self, document):
        if not isinstance(document, dict):
            _refuse(40024, "the body is no JSON object")
        for name, value in document.items():
            if name not in _FIELDS or not isinstance(value, _FIELDS[name]) \
                    or type(value) is bool and _FIELDS[name] is int:
                _refuse(40024, f"{name} is {value!r}")
        if document.get("priority", 3) not in range(1, 6):
            _refuse(40007, f"the priority is {document['priority']}")
        if not all(isinstance(tag, str) for tag in document.get("tags", [])):
            _refuse(40024, f"the tags are {document['tags']}")
        if len(document.get("message", "").encode()) > MOST_BODY:
            _refuse(41301, f"{len(document['message'].encode())} bytes")
        return document

    # Answers

    def serve(self, request):
        if not self._has_room():
            return ntfy_error(42901)
        topic = request.token
        if topic in self.forbidden:
            return ntfy_error(40301)
        if topic in self.deserted and re.fullmatch(r"up[-_A-Za-z0-9]{12}", topic):
            return ntfy_error(50701)
        time = int(self.now)
        said = {key: value for key, value in request.payload.items() if key in (
            "message", "title", "priority", "tags", "click")}
        return Answer(200, {
            **said, "id": secrets.token_urlsafe(9), "time": time, "expires": time + 43200,
            "event": "message", "topic": topic})

    def _has_room(self):
        if self.rate is None:
            return True
        room = self.rate.burst if self._room is None else self._room
        self._room = min(
            self.rate.burst, room + max(0, self.now - self._since) / self.rate.pause)
        self._since = self.now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def over_quota(self):
        return ntfy_error(42908)


def _unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def _refuse(code, text):
    raise Refused(ntfy_error(code), code, text)
