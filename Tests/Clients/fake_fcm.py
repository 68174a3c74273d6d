"""A fake of Firebase Cloud Messaging (HTTP v1) and of Google's endpoint for access tokens."""

import functools
import json
import re
import secrets
import urllib.parse

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from push_fakes import Answer, PushFake, Refused

# The token of scripts for requests of access tokens.
OAUTH = "oauth"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Seconds: the longest life of a message and of an assertion.
LONGEST_TTL, LONGEST_ASSERTION = 2_419_200, 3600
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
# Of an error code of FCM: the HTTP status, Google's status, its message.
ERRORS = {
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Sending'."),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    "THIRD_PARTY_AUTH_ERROR": (
        401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
}
_NO_TOKEN = "The registration token is not a valid FCM registration token"
_MESSAGE = {
    "token": str, "topic": str, "condition": str, "name": str, "data": dict,
    "notification": dict, "android": dict, "apns": dict, "webpush": dict, "fcm_options": dict}
_ANDROID = {
    "collapse_key": str, "priority": str, "ttl": str, "restricted_package_name": str,
    "direct_boot_ok": bool, "notification": dict, "data": dict, "fcm_options": dict}
_NOTIFICATION = {"title": str, "body": str, "image": str}
_ANDROID_NOTIFICATION = {
    "title": str, "body": str, "icon": str, "color": str, "sound": str, "tag": str,
    "click_action": str, "channel_id": str, "ticker": str, "image": str, "sticky": bool,
    "visibility": str, "notification_priority": str, "notification_count": int,
    "local_only": bool, "default_sound": bool, "default_vibrate_timings": bool}


def fcm_error(code, message=None, fields=(), **headers):
    """An error of FCM in Google's form; `fields` are (name, what is wrong with it)."""
    http, status, text = ERRORS[code]
    details = [{"@type": _FCM_ERROR, "errorCode": code}]
    if fields:
        details.append({"@type": _BAD_REQUEST, "fieldViolations": [
            {"field": field, "description": description} for field, description in fields]})
    return google_error(http, status, message or text, details, **headers)


def google_error(http, status, message, details=(), **headers):
    error = {"code": http, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return Answer(
        http, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()})


def invalid_token(by_field=False):
    """The INVALID_ARGUMENT that is about the token, in either of its forms."""
    return fcm_error(
        "INVALID_ARGUMENT", _NO_TOKEN, [("message.token", "Invalid registration token")]
        if by_field else ())


def unauthenticated():
    """An access token that is not, or no longer, good."""
    return google_error(
        401, "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential.",
        [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED",
          "domain": "googleapis.com",
          "metadata": {"service": "fcm.googleapis.com"}}])


def oauth_error(error, description, status=400):
    """An error of RFC 6749 section 5.2."""
    return Answer(status, {"error": error, "error_description": description})


@functools.cache
def _private_key():
    """One for all, for it takes a while."""
    return rsa.generate_private_key(65537, 2048)


class FakeFCM(PushFake):
    """One project. `token_life` is how many seconds access tokens are good for, and `grants` how
    many were given."""

    def __init__(self, authority, name="localhost", project="project-of-test"):
        super().__init__(authority, name)
        self.project = project
        self.email = f"pusher@{project}.iam.gserviceaccount.com"
        self.key_id = secrets.token_hex(20)
        self.token_url = f"{self.url}/token"
        self.token_life = 3599
        self.grants = 0
        # None where it does not matter.
        self.most_collapse_keys = 4
        self._access_tokens = {}
        self._dead = {}
        self._collapse_keys = {}

    @property
    def private_key(self):
        return _private_key()

    @property
    def service_account(self):
        """The document that Google lets one download."""
        pem = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()).decode()
        return {
            "type": "service_account", "project_id": self.project,
            "private_key_id": self.key_id, "private_key": pem, "client_email": self.email,
            "client_id": "100000000000000000000", "token_uri": self.token_url}

    def write_service_account(self, file):
        file.write_text(json.dumps(self.service_account))
        file.chmod(0o600)
        return file

    def unregister(self, token):
        self._dead[token] = fcm_error("UNREGISTERED")

    def is_of_another_project(self, token):
        self._dead[token] = fcm_error("SENDER_ID_MISMATCH")

    def is_no_token(self, token):
        self._dead[token] = invalid_token()

    def register(self, token):
        self._dead.pop(token, None)

    def revoke_access(self):
        """No access token that was given is good any longer."""
        self._access_tokens.clear()

    # Rules

    def check_rules(self, request):
        if request.method != "POST":
            _refuse(404, "NOT_FOUND", f"the method is {request.method}")
        if request.path == "/token":
            request.token = OAUTH
            self._check_assertion(request)
        else:
            self._check_message(request)

    def _check_assertion(self, request):
        kind = request.header("content-type", "").split(";")[0]
        form = urllib.parse.parse_qs(request.body.decode("utf-8", "replace"), strict_parsing=False)
        if kind != "application/x-www-form-urlencoded":
            _no_grant("invalid_request", f"the type is {kind!r}")
        if form.get("grant_type") != [GRANT]:
            _no_grant("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        if form.keys() != {"grant_type", "assertion"} or len(form["assertion"]) != 1:
            _no_grant("invalid_request", f"its fields are {list(form)}")
        assertion = form["assertion"][0]
        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(assertion, self.private_key.public_key(), ["RS256"], options={
                "verify_iat": False, "verify_exp": False, "verify_aud": False})
        except jwt.PyJWTError as error:
            _no_grant("invalid_grant", "Invalid JWT Signature.", str(error))
        if header.pop("typ", "JWT") != "JWT" or header != {"alg": "RS256", "kid": self.key_id}:
            _no_grant("invalid_grant", "Invalid JWT Signature.", f"its header is {header}")
        if claims.keys() != {"iss", "scope", "aud", "iat", "exp"}:
            _no_grant("invalid_grant", f"its claims are {list(claims)}")
        if claims["iss"] != self.email:
            _no_grant("invalid_grant", "Invalid grant: account not found", claims["iss"])
        if claims["scope"] != SCOPE:
            _no_grant("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        if claims["aud"] != self.token_url:
            _no_grant("invalid_grant", "Failed audience check.", f"aud is {claims['aud']}")
        issued, end = claims["iat"], claims["exp"]
        if type(issued) is not int or type(end) is not int \
                or not issued < end <= issued + LONGEST_ASSERTION \
                or not issued - 300 <= self.now < end:
            _no_grant(
                "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and "
                "in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
                f"{issued} to {end} at {self.now:.0f}")

    def _check_message(self, request):
        path = re.fullmatch(r"/v1/projects/([^/]+)/messages:send", request.path)
        if not path or request.query:
            _refuse(404, "NOT_FOUND", f"the path is {request.target}")
        document = request.json()
        message = document.get("message") if isinstance(document, dict) else None
        if isinstance(message, dict) and isinstance(message.get("token"), str):
            request.token = message["token"]
        kind, _, bearer = request.header("authorization", "").partition(" ")
        if kind != "Bearer":
            raise Refused(unauthenticated(), "bearer", f"the scheme is {kind!r}")
        # Tokens end, and one may be on its way then.
        if self._access_tokens.get(bearer, 0) <= self.now:
            raise Refused(unauthenticated())
        if path[1] != self.project:
            _refuse(403, "PERMISSION_DENIED", f"the project is {path[1]}")
        if request.header("content-type", "").split(";")[0] != "application/json":
            _invalid("", f"the type is {request.header('content-type')}")
        if not isinstance(message, dict) or document.keys() - {"message", "validate_only"} \
                or type(document.get("validate_only", False)) is not bool:
            _invalid("", f"the body is {request.body[:200]!r}")
        _check_shape("message", message, _MESSAGE)
        if len(message.keys() & {"token", "topic", "condition"}) != 1:
            _invalid("message", "there is not one target")
        android = message.get("android", {})
        notification = message.get("notification", {})
        _check_shape("message.notification", notification, _NOTIFICATION)
        _check_shape("message.android", android, _ANDROID)
        _check_shape(
            "message.android.notification", android.get("notification", {}),
            _ANDROID_NOTIFICATION)
        data = _check_data("message.data", message.get("data", {}))
        _check_data("message.android.data", android.get("data", {}))
        if android.get("priority", "NORMAL") not in ("NORMAL", "HIGH"):
            _invalid("message.android.priority", f"{android['priority']!r}")
        ttl = re.fullmatch(r"(\d{1,9})(?:\.\d{1,9})?s", android.get("ttl", "0s"))
        if not ttl or int(ttl[1]) > LONGEST_TTL:
            _invalid("message.android.ttl", f"{android['ttl']!r}")
        parts = [*data.items(), *((name, str(value)) for name, value in notification.items())]
        size = sum(len((name + value).encode()) for name, value in parts)
        if size > (2048 if "topic" in message else 4096):
            raise Refused(
                fcm_error("INVALID_ARGUMENT", "Android message is too big"), "size",
                f"{size} bytes")
        if not data and not notification and not android.get("notification"):
            _invalid("message", "there is nothing in it")
        request.payload = message
        self._count_collapse_key(
            request, android.get("collapse_key"), int(ttl[1]) if "ttl" in android else LONGEST_TTL)

    def _count_collapse_key(self, request, key, ttl):
        """FCM takes any, and keeps four for a device."""
        keys = self._collapse_keys.setdefault(request.token, {})
        if key is not None:
            keys[key] = self.now + ttl
        live = [key for key, end in keys.items() if end > self.now]
        if self.most_collapse_keys is not None and len(live) > self.most_collapse_keys:
            self.violate("collapse_key", f"{len(live)} live ones", request)

    # Answers

    def serve(self, request):
        if request.token == OAUTH:
            self.grants += 1
            token = f"ya29.{secrets.token_urlsafe(60)}"
            self._access_tokens[token] = self.now + self.token_life
            return Answer(200, {
                "access_token": token, "expires_in": self.token_life, "token_type": "Bearer"},
                delivers=False)
        if request.token in self._dead:
            return self._dead[request.token]
        trial = request.json().get("validate_only", False)
        name = "fake_message_id" if trial else f"0:{secrets.token_hex(16)}"
        return Answer(
            200, {"name": f"projects/{self.project}/messages/{name}"}, delivers=not trial)

    def over_quota(self):
        return fcm_error("QUOTA_EXCEEDED")

    @property
    def pushes(self):
        """The requests that were for messages."""
        return [request for request in self.requests if request.token != OAUTH]


def _check_shape(path, value, fields):
    for name, part in value.items():
        if name not in fields:
            _invalid(path, f'Invalid JSON payload received. Unknown name "{name}": Cannot find '
                     "field.")
        if not isinstance(part, fields[name]) or type(part) is bool and fields[name] is int:
            _invalid(f"{path}.{name}", f"Invalid value: {part!r}")


def _check_data(path, data):
    for index, (name, value) in enumerate(data.items()):
        if not isinstance(value, str):
            _invalid(f"{path}[{index}].value", f"Invalid value ({type(value)}), {value!r}")
        if name in ("from", "gcm") or name.startswith("google"):
            raise Refused(
                fcm_error("INVALID_ARGUMENT", f"Invalid data payload key: {name}"), "data", name)
    return data


def _invalid(field, text):
    raise Refused(
        fcm_error("INVALID_ARGUMENT", text, [(field, text)]), field or "body", text)


def _refuse(http, status, text):
    raise Refused(google_error(http, status, text), status, text)


def _no_grant(error, description, text=None):
    raise Refused(oauth_error(error, description), error, text or description)
