"""What push services answer, and what becomes of the message and the device then.

A `Case` scripts one answer of a fake. An `Outcome` says what it means, in the words of the program:

- accepted
- invalid-token, with its scope: `token` (nobody's any longer), `app` (another app's) or
  `environment` (Apple's other one is tried once; then it is nobody's)
- retry, with its scope: `device` (only this one waits) or `circuit` (the service does), and the
  fewest seconds until then, if the answer or the service's documents say so
- auth-expired, with its cause: `expired` (sign or ask anew, and send again once) or `refused`
  (somebody has to look after the credential: nothing is sent until then)
- rejected: what was sent is at fault; it is sent no more, and the device stays
- quota-day: nothing is sent until tomorrow

`is_inferred` marks what follows from a status alone, not from a document of the service.
"""

import dataclasses
from typing import NamedTuple

import push_fakes
from fake_apns import REASONS, reason
from fake_fcm import ERRORS, OAUTH, fcm_error, google_error, invalid_token, oauth_error, \
    unauthenticated
from fake_gotify import gotify_error
from fake_ntfy import CODES, ntfy_error
from fake_web_push import web_push_error
from push_fakes import Answer


class Outcome(NamedTuple):
    kind: str
    scope: str | None = None
    after: float | None = None
    # When the service saw that a token was invalid, in seconds since 1970.
    since: float | None = None


class Case(NamedTuple):
    provider: str
    name: str
    answer: Answer
    outcome: Outcome
    is_inferred: bool = False
    # Where the answer is scripted: for the device, or for the request of an access token.
    token: str | None = None

    @property
    def status(self):
        return self.answer.status

    @property
    def headers(self):
        return self.answer.headers

    @property
    def body(self):
        return self.answer.bytes

    def script(self, fake, device):
        """Has the next request get the answer."""
        fake.script(self.token or device, self.answer)

    def __str__(self):
        return f"{self.provider}-{self.name}"


ACCEPTED = Outcome("accepted")
INVALID = Outcome("invalid-token", "token")
EXPIRED = Outcome("auth-expired", "expired")
REFUSED = Outcome("auth-expired", "refused")
REJECTED = Outcome("rejected")
QUOTA_DAY = Outcome("quota-day")


def retry(scope, after=None):
    return Outcome("retry", scope, after)


# Apple: its reasons.

GONE_SINCE = 1_700_000_000.5
_APPLE = {
    "Unregistered": INVALID._replace(since=GONE_SINCE),
    "ExpiredToken": INVALID._replace(since=GONE_SINCE),
    "BadDeviceToken": Outcome("invalid-token", "environment"),
    "DeviceTokenNotForTopic": Outcome("invalid-token", "app"),
    **dict.fromkeys((
        "BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "BadTopic",
        "DuplicateHeaders", "InvalidPushType", "MissingDeviceToken", "MissingTopic",
        "PayloadEmpty", "TopicDisallowed", "Forbidden", "BadPath", "MethodNotAllowed",
        "PayloadTooLarge"), REJECTED),
    "ExpiredProviderToken": EXPIRED,
    **dict.fromkeys((
        "InvalidProviderToken", "MissingProviderToken", "BadCertificate",
        "BadCertificateEnvironment", "UnrelatedKeyIdInToken", "BadEnvironmentKeyInToken",
        "BadEnvironmentKeyIdInToken"), REFUSED),
    "TooManyRequests": retry("device"),
    "TooManyProviderTokenUpdates": retry("circuit", 20 * 60),
    **dict.fromkeys(
        ("InternalServerError", "ServiceUnavailable", "Shutdown", "IdleTimeout"),
        retry("circuit")),
}
APPLE = [
    Case("apns", "200", Answer(200), ACCEPTED),
    *(Case("apns", code, reason(code, GONE_SINCE if REASONS[code] == 410 else None), outcome)
      for code, outcome in _APPLE.items()),
    Case("apns", "410-without-a-time", reason("Unregistered"), INVALID, True),
    *(Case("apns", f"{status}-of-a-new-reason", Answer(status, {"reason": "Unheard"}), outcome,
           True)
      for status, outcome in [
          (400, REJECTED), (403, REFUSED), (429, retry("device")), (500, retry("circuit")),
          (503, retry("circuit"))]),
]

# Firebase: its error codes, and what its endpoint for access tokens says.

_BUSY = [("QUOTA_EXCEEDED", 60), ("UNAVAILABLE", 10), ("INTERNAL", 10)]
GOOGLE = [
    Case("fcm", "200", Answer(200, {"name": "projects/p/messages/0:1"}), ACCEPTED),
    Case("fcm", "UNREGISTERED", fcm_error("UNREGISTERED"), INVALID),
    Case("fcm", "SENDER_ID_MISMATCH", fcm_error("SENDER_ID_MISMATCH"),
         Outcome("invalid-token", "app")),
    Case("fcm", "INVALID_ARGUMENT-about-the-token", invalid_token(), INVALID),
    Case("fcm", "INVALID_ARGUMENT-about-the-field-token", invalid_token(by_field=True), INVALID),
    Case("fcm", "INVALID_ARGUMENT-about-the-data", fcm_error(
        "INVALID_ARGUMENT", "Invalid value at 'message.data[0].value' (TYPE_STRING), 3",
        [("message.data[0].value", "Invalid value (TYPE_STRING), 3")]), REJECTED),
    Case("fcm", "INVALID_ARGUMENT-about-nothing", fcm_error("INVALID_ARGUMENT"), REJECTED),
    Case("fcm", "INVALID_ARGUMENT-about-the-size", fcm_error(
        "INVALID_ARGUMENT", "Android message is too big"), REJECTED),
    Case("fcm", "THIRD_PARTY_AUTH_ERROR", fcm_error("THIRD_PARTY_AUTH_ERROR"), REFUSED),
    *(Case("fcm", code, fcm_error(code), retry("circuit", wait)) for code, wait in _BUSY),
    *(Case("fcm", f"{code}-with-Retry-After", fcm_error(code, retry_after=wait + 30),
           retry("circuit", wait + 30)) for code, wait in _BUSY),
    Case("fcm", "UNAUTHENTICATED", unauthenticated(), EXPIRED),
    Case("fcm", "PERMISSION_DENIED", google_error(
        403, "PERMISSION_DENIED",
        "Permission 'cloudmessaging.messages.create' denied on resource"), REFUSED, True),
    Case("fcm", "404-of-a-project", google_error(404, "NOT_FOUND", "Not found."), REJECTED, True),
    Case("fcm", "oauth-invalid_grant", oauth_error("invalid_grant", "Invalid JWT Signature."),
         REFUSED, token=OAUTH),
    Case("fcm", "oauth-503", Answer(503), retry("circuit"), True, OAUTH),
]

# Web Push and UnifiedPush: statuses.

WEB_PUSH = [
    *(Case("web-push", str(status), Answer(status), ACCEPTED) for status in (200, 201, 202)),
    Case("web-push", "400", web_push_error(400), REJECTED),
    # Mozilla's errno 109; a distributor's VAPID_REQUIRED ends here too. The endpoint is a user's:
    # it is no reason to leave the others at that server alone. Our token may have become old.
    Case("web-push", "401", web_push_error(401, "Invalid authorization", 109), EXPIRED),
    Case("web-push", "403", web_push_error(403, "Forbidden", 109), REJECTED),
    Case("web-push", "404", web_push_error(404, "Not found", 102), INVALID),
    Case("web-push", "410", web_push_error(410, "Gone", 106), INVALID),
    Case("web-push", "413", web_push_error(413, "Too large", 104), REJECTED),
    Case("web-push", "429-with-Retry-After", web_push_error(429, retry_after=90),
         retry("device", 90)),
    Case("web-push", "429", web_push_error(429), retry("device")),
    *(Case("web-push", str(status), web_push_error(status), retry("circuit"))
      for status in (500, 502, 503, 504)),
    Case("web-push", "503-with-Retry-After", web_push_error(503, retry_after=90),
         retry("circuit", 90)),
]

# ntfy and Gotify.

# Whose credential is refused has to mend it; others at that server have their own.
_NTFY = {
    40101: REJECTED, 40301: REJECTED, 41301: REJECTED, 42901: retry("circuit", 5),
    42908: QUOTA_DAY, 50701: retry("device")}
NTFY = [
    Case("ntfy", "200", Answer(200, {"id": "a", "event": "message"}), ACCEPTED),
    *(Case("ntfy", str(code), ntfy_error(code), outcome) for code, outcome in _NTFY.items()),
    *(Case("ntfy", str(code), ntfy_error(code), REJECTED, True)
      for code in CODES if code // 100 == 400),
    Case("ntfy", "50001", ntfy_error(50001), retry("circuit"), True),
    Case("ntfy", "429-without-a-code", Answer(429), retry("circuit"), True),
]
GOTIFY = [
    Case("gotify", "200", Answer(200, {"id": 1, "message": "x"}), ACCEPTED),
    Case("gotify", "400", gotify_error(400, "Field 'message' is required"), REJECTED),
    Case("gotify", "401", gotify_error(401, "you need to provide a valid access token"),
         REJECTED, True),
    Case("gotify", "403", gotify_error(403, "you are not allowed to access this api"),
         REJECTED, True),
    Case("gotify", "429", gotify_error(429), retry("device"), True),
    Case("gotify", "500", gotify_error(500), retry("device"), True),
]

ALL = [*APPLE, *GOOGLE, *WEB_PUSH, *NTFY, *GOTIFY]

# What every service may do when it is unwell. None of these is the device's fault, none is
# accepted, and no redirect is followed.
UNWELL = {
    "garbage": push_fakes.garbage, "reset": push_fakes.reset, "hang-up": push_fakes.hang_up,
    "never": push_fakes.never,
    "huge-headers": lambda: dataclasses.replace(push_fakes.huge_headers(), status=503),
    "redirect": lambda: push_fakes.redirect("/elsewhere"),
    "502-of-a-proxy": lambda: Answer(502, b"<html>Bad Gateway</html>", {
        "content-type": "text/html"}),
    "504-of-a-proxy": lambda: Answer(504, b"<html>Gateway Time-out</html>", {
        "content-type": "text/html"}),
}

# Those that forgot nothing: each code of the fakes' own tables has a case.
assert _APPLE.keys() == REASONS.keys()
assert ERRORS.keys() <= {case.name.partition("-")[0] for case in GOOGLE}
assert {str(code) for code in CODES if code != 40401} <= {case.name for case in NTFY}
