"""Fakes of the services of makers of Android telephones: Huawei, Honor, Xiaomi, OPPO, vivo, Meizu.

All tokens of one request are `request.token`, joined by commas. `dead` are devices that are gone.
"""

import hashlib
import json
import re
import secrets
import urllib.parse

from push_fakes import Answer, PushFake, Refused, error_inside

# The token of scripts for requests of access tokens.
LOGIN = "login"
DAY = 86400


class FakeVendor(PushFake):
    """`app_id`, `app_key` and `secret` are what its console gives out; `grants` how many access
    tokens it gave, which are good for `token_life` seconds."""

    login_paths = ()
    token_life = DAY
    app_id, app_key = "100001", "key-of-the-app"

    def __init__(self, authority, name="localhost"):
        super().__init__(authority, name)
        self.secret = secrets.token_hex(16)
        self.dead = set()
        self.grants = 0
        self._access = {}

    def revoke_access(self):
        """No access token that was given is good any longer."""
        self._access.clear()

    def check_rules(self, request):
        if request.path in self.login_paths:
            request.token = LOGIN
        if request.method != "POST" or request.query:
            _refuse(Answer(404), "method", f"{request.method} {request.target}")
        if request.token == LOGIN:
            self.check_login(request)
        else:
            self.check_message(request)

    def check_login(self, request):
        raise NotImplementedError

    def check_message(self, request):
        raise NotImplementedError

    def serve(self, request):
        if request.token == LOGIN:
            self.grants += 1
            token = secrets.token_urlsafe(30)
            self._access[token] = self.now + self.token_life
            return Answer(200, self.granted(token), delivers=False)
        dead = [token for token in request.token.split(",") if token in self.dead]
        return self.refuse_devices(dead, request) if dead else self.accepted()

    def granted(self, token):
        return {"access_token": token, "expires_in": self.token_life, "token_type": "Bearer"}

    def accepted(self):
        raise NotImplementedError

    def refuse_devices(self, dead, request):
        raise NotImplementedError

    # Parts of rules

    def knows(self, access_token):
        return self._access.get(access_token, 0) > self.now

    def bearer(self, request):
        kind, _, token = request.header("authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def client_credentials(self, request, refusal):
        form = self.form(request, refusal)
        wanted = {"grant_type": "client_credentials", "client_id": self.app_id,
                  "client_secret": self.secret}
        if form.keys() != wanted.keys() or form["grant_type"] != wanted["grant_type"]:
            _refuse(refusal, "login", f"its fields are {list(form)}")
        if form != wanted:
            raise Refused(refusal)

    def form(self, request, refusal):
        kind = request.header("content-type", "").split(";")[0]
        pairs = urllib.parse.parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, errors="strict")
        if kind != "application/x-www-form-urlencoded" or len(dict(pairs)) < len(pairs) \
                or not pairs:
            _refuse(refusal, "form", f"{kind}: {request.body[:200]!r}")
        return dict(pairs)

    def document(self, request, refusal):
        kind = request.header("content-type", "").split(";")[0]
        document = request.json()
        if kind != "application/json" or not isinstance(document, dict):
            _refuse(refusal, "json", f"{kind}: {request.body[:200]!r}")
        return document

    def targets(self, request, tokens, refusal):
        if not isinstance(tokens, list) or not 1 <= len(tokens) <= 1000 \
                or not all(isinstance(token, str) and token for token in tokens):
            _refuse(refusal, "token", f"the tokens are {tokens!r}")
        request.token = ",".join(tokens)


def huawei_code(code, message="", http=200, **headers):
    return _coded(http, {"code": str(code), "msg": message, "requestId": "1"}, headers,
                  str(code) == "80000000")


class FakeHuawei(FakeVendor):
    """Access tokens by client credentials; JSON; success is a code inside of 200."""

    login_paths = ("/oauth2/v3/token",)
    token_life = 3600

    def check_login(self, request):
        self.client_credentials(request, Answer(401, {
            "error": 1101, "sub_error": 20002, "error_description": "invalid client"}))

    def check_message(self, request):
        document = self.document(request, huawei_code(80100003, http=400))
        message = document.get("message")
        if not isinstance(message, dict) or document.keys() - {"message", "validate_only"}:
            _refuse(huawei_code(80100003, http=400), "message", f"its fields are {list(document)}")
        self.targets(request, message.get("token"), huawei_code(80300010))
        if request.path != f"/v1/{self.app_id}/messages:send":
            _refuse(huawei_code(80300002), "path", request.path)
        if not self.knows(self.bearer(request)):
            raise Refused(huawei_code(80200003, http=401))
        rest = {name: value for name, value in message.items() if name != "token"}
        if len(json.dumps(rest, ensure_ascii=False).encode()) > 4096:
            _refuse(huawei_code(80300008), "size", "too large")
        android = message.get("android", {})
        notification = android.get("notification", {})
        _check("huawei", huawei_code(80100003, http=400), [
            (not message.keys() - {"token", "data", "notification", "android"}, list(message)),
            (isinstance(message.get("data", ""), str), "data"),
            ("data" in message or "notification" in android or "notification" in message, "empty"),
            (_between(android.get("collapse_key", -1), -1, 100), "collapse_key"),
            (android.get("urgency", "NORMAL") in ("HIGH", "NORMAL"), "urgency"),
            (_ttl(android.get("ttl", "86400s"), 15 * DAY), "ttl"),
            (notification.get("importance", "NORMAL") in ("LOW", "NORMAL"), "importance"),
            (not notification or notification.get("click_action", {}).get("type") in (1, 2, 3),
             "click_action")])
        request.payload = message

    def accepted(self):
        return huawei_code(80000000, "Success")

    def refuse_devices(self, dead, request):
        tokens = request.token.split(",")
        if len(dead) == len(tokens):
            return huawei_code(80300007, "All the tokens are invalid")
        return huawei_code(80100000, json.dumps({
            "success": len(tokens) - len(dead), "failure": len(dead), "illegal_tokens": dead}))

    def over_quota(self):
        return Answer(503)


def honor_code(code, http=200, good=False, failed=(), expired=(), **headers):
    return _coded(http, {"code": code, "message": "success" if good else "failure", "data": {
        "sendResult": good, "requestId": "1", "failTokens": list(failed),
        "expireTokens": list(expired)}}, headers, good)


class FakeHonor(FakeVendor):
    """Like Huawei's elder, with lists of tokens that failed or are gone."""

    login_paths = ("/auth/realms/developer/protocol/openid-connect/token", "/auth/token")
    token_life = 3600

    def check_login(self, request):
        self.client_credentials(request, Answer(401, {"error": "invalid_client"}))

    def check_message(self, request):
        document = self.document(request, honor_code(80100003, 400))
        self.targets(request, document.get("token"), honor_code(80100003, 400))
        if request.path != f"/api/v1/{self.app_id}/sendMessage":
            _refuse(honor_code(404, 404), "path", request.path)
        if not self.knows(self.bearer(request)):
            raise Refused(honor_code(401, 401))
        time = request.header("timestamp", "")
        android = document.get("android", {})
        notification = android.get("notification", {})
        _check("honor", honor_code(80100003, 400), [
            (re.fullmatch(r"\d{13}", time) and abs(int(time) / 1000 - self.now) < 600, "timestamp"),
            (not document.keys() - {"token", "data", "android"}, list(document)),
            (isinstance(document.get("data", ""), str), "data"),
            ("data" in document or notification, "empty"),
            (_ttl(android.get("ttl", "86400s"), 15 * DAY), "ttl"),
            (notification.get("importance", "NORMAL") in ("LOW", "NORMAL"), "importance"),
            (not notification or notification.get("clickAction", {}).get("type") in (1, 2, 3),
             "clickAction")])
        request.payload = document

    def accepted(self):
        return honor_code(200, good=True)

    def refuse_devices(self, dead, request):
        return honor_code(200, good=len(dead) < len(request.token.split(",")), expired=dead)

    def over_quota(self):
        return Answer(429)


def xiaomi_code(code, reason="", http=200, bad=(), **headers):
    body = {"result": "error" if code else "ok", "code": code, "description": reason,
            "reason": reason, "data": {"id": "1"}}
    if bad:
        body["data"]["bad_regids"] = ",".join(bad)
    return _coded(http, body, headers, not code and not bad)


class FakeXiaomi(FakeVendor):
    """A secret that never expires; forms."""

    _fields = {
        "registration_id", "restricted_package_name", "pass_through", "title", "description",
        "payload", "notify_type", "notify_id", "time_to_live", "time_to_send"}

    def check_message(self, request):
        form = self.form(request, xiaomi_code(10017))
        self.targets(request, form.get("registration_id", "").split(","), xiaomi_code(10017))
        if request.path != "/v3/message/regid":
            _refuse(Answer(404), "path", request.path)
        if request.header("authorization") != f"key={self.secret}":
            raise Refused(xiaomi_code(21301))
        extra = {name: value for name, value in form.items() if name.startswith("extra.")}
        if sum(len(name[6:] + value) for name, value in extra.items()) >= 2048:
            _refuse(xiaomi_code(65015), "extra", "too large")
        shown = form.get("pass_through", "0") == "0"
        _check("xiaomi", xiaomi_code(10017), [
            (not form.keys() - self._fields - extra.keys(), list(form)),
            (form.get("restricted_package_name"), "restricted_package_name"),
            (form.get("pass_through", "0") in ("0", "1"), "pass_through"),
            (len(form.get("title", "")) < 50 and (form.get("title") or not shown), "title"),
            (len(form.get("description", "")) < 128, "description"),
            (form.get("description") or not shown, "description"),
            (len(form.get("payload", "").encode()) < 4096, "payload"),
            (_number(form.get("notify_type", "1"), -1, 7), "notify_type"),
            (_number(form.get("notify_id", "0"), 0, 2**31 - 1), "notify_id"),
            (_number(form.get("time_to_live", "0"), 0, 10 * DAY * 1000), "time_to_live"),
            (len(form.get("extra.jobkey", "")) <= 20, "jobkey")])
        request.payload = form

    def accepted(self):
        return xiaomi_code(0)

    def refuse_devices(self, dead, request):
        everybody = len(dead) == len(request.token.split(","))
        return xiaomi_code(20301) if everybody else xiaomi_code(0, bad=dead)

    def over_quota(self):
        return xiaomi_code(200001)


def oppo_code(code, message="", http=200, **headers):
    return _coded(http, {"code": code, "message": message, "data": {}}, headers, code == 0)


class FakeOPPO(FakeVendor):
    """A signature buys an access token for a day; a form with JSON inside."""

    login_paths = ("/server/v1/auth",)

    def check_login(self, request):
        form = self.form(request, oppo_code(14))
        time = form.get("timestamp", "")
        if form.keys() != {"app_key", "timestamp", "sign"} or not re.fullmatch(r"\d{13}", time):
            _refuse(oppo_code(14), "login", f"its fields are {form}")
        right = hashlib.sha256((self.app_key + time + self.secret).encode()).hexdigest()
        if form["app_key"] != self.app_key or form["sign"] != right:
            raise Refused(oppo_code(14))

    def granted(self, token):
        return {"code": 0, "message": "Success", "data": {
            "auth_token": token, "create_time": int(self.now * 1000)}}

    def check_message(self, request):
        form = self.form(request, oppo_code(15))
        name = {
            "/server/v1/message/notification/unicast": "message",
            "/server/v1/message/notification/unicast_batch": "messages"}.get(request.path)
        if name is None:
            _refuse(Answer(404), "path", request.path)
        try:
            messages = json.loads(form.get(name, "").encode())
            messages = [messages] if name == "message" else messages
            self.targets(
                request, [message["target_value"] for message in messages], oppo_code(15))
            message, notification = messages[0], messages[0]["notification"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            _refuse(oppo_code(15), "message", repr(error))
        if not self.knows(request.header("auth_token") or form.get("auth_token")):
            raise Refused(oppo_code(11, "Invalid AuthToken"))
        style = notification.get("style", 1)
        has_template = "private_msg_template_id" in notification
        _check("oppo", oppo_code(40), [
            (all(one.get("target_type") == 2 for one in messages), "target_type"),
            (all({**one["notification"], "app_message_id": None}
                 == {**notification, "app_message_id": None} for one in messages), "notification"),
            (len({one["notification"].get("app_message_id") for one in messages})
             == len(messages), "app_message_id"),
            (style in (1, 2, 3), "style"),
            (has_template or 1 <= len(notification.get("title", "")) <= 50, "title"),
            (not has_template or not {"title", "content"} & notification.keys(), "free text"),
            (len(notification.get("sub_title", "")) <= 10, "sub_title"),
            (has_template or 1 <= len(notification.get("content", ""))
             <= (128 if style == 2 else 50), "content"),
            (notification.get("click_action_type", 0) in (0, 1, 2, 4, 5), "click_action_type"),
            (_between(notification.get("off_line_ttl", 3600), 0, 10 * DAY), "off_line_ttl"),
            ("notify_level" not in notification or "category" in notification, "notify_level"),
            (notification.get("notify_level", 1) in (1, 2, 16), "notify_level")])
        request.payload = notification

    def accepted(self):
        return oppo_code(0, "Success")

    def refuse_devices(self, dead, request):
        tokens = request.token.split(",")
        if len(tokens) == 1:
            return oppo_code(10000, "Invalid registration_id")
        # Of several, each has a code of its own.
        answer = oppo_code(0, "Success")
        answer.body["data"] = [
            {"messageId": str(number), "registrationId": token,
             "errorCode": 10000 if token in dead else 0}
            for number, token in enumerate(tokens)]
        answer.delivers = len(dead) < len(tokens)
        return answer

    def over_quota(self):
        return oppo_code(33)


def vivo_code(code, invalid=None, http=200, **headers):
    body = {"result": code, "desc": "", "taskId": "1"}
    if invalid:
        body["invalidUsers"] = [{"userid": user, "status": 1} for user in invalid]
    return _coded(http, body, headers, code == 0 and not invalid)


class FakeVivo(FakeVendor):
    """The same with MD5; JSON."""

    login_paths = ("/message/auth",)

    def check_login(self, request):
        document = self.document(request, vivo_code(10000))
        if document.keys() != {"appId", "appKey", "timestamp", "sign"} \
                or type(document["appId"]) is not int or type(document["timestamp"]) is not int:
            _refuse(vivo_code(10000), "login", f"its fields are {document}")
        time = document["timestamp"]
        text = f"{self.app_id}{self.app_key}{time}{self.secret}"
        right = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        if abs(time / 1000 - self.now) > 600:
            _refuse(vivo_code(10000), "timestamp", f"{time} at {self.now:.0f}")
        if (str(document["appId"]), document["appKey"], document["sign"]) \
                != (self.app_id, self.app_key, right):
            raise Refused(vivo_code(10000))

    def granted(self, token):
        return {"result": 0, "desc": "", "authToken": token}

    def check_message(self, request):
        document = self.document(request, vivo_code(10101))
        self.targets(request, [document.get("regId")], vivo_code(10302))
        if request.path != "/message/send":
            _refuse(Answer(404), "path", request.path)
        if not self.knows(request.header("authtoken")):
            raise Refused(vivo_code(10000))
        if str(document.get("appId", self.app_id)) != self.app_id:
            _refuse(vivo_code(10094), "appId", document["appId"])
        get = document.get
        _check("vivo", vivo_code(10101), [
            (get("notifyType") in (1, 2, 3, 4), "notifyType"),
            (1 <= _width(get("title", "")) <= 40, "title"),
            (1 <= _width(get("content", "")) <= 100, "content"),
            (_between(get("timeToLive", DAY), 60, DAY), "timeToLive"),
            (get("skipType") in (1, 2, 4), "skipType"),
            (get("networkType", -1) in (-1, 1), "networkType"),
            (get("classification", 0) in (0, 1), "classification"),
            (get("pushMode", 0) in (0, 1), "pushMode"),
            (isinstance(get("requestId"), str) and 1 <= len(get("requestId")) <= 64, "requestId"),
            (len(json.dumps(get("clientCustomMap", {}))) <= 1024, "clientCustomMap")])
        request.payload = document

    def accepted(self):
        return vivo_code(0)

    def refuse_devices(self, dead, request):
        return vivo_code(10302)

    def over_quota(self):
        return vivo_code(10070)


def meizu_code(code, value=None, http=200, **headers):
    body = {"code": str(code), "message": "", "value": value or {}}
    return _coded(http, body, headers, str(code) == "200" and not value)


class FakeMeizu(FakeVendor):
    """Every request is signed; what failed is told by token."""

    def check_message(self, request):
        form = self.form(request, meizu_code(1005))
        self.targets(request, form.get("pushIds", "").split(","), meizu_code(1005))
        if request.path != "/garcia/api/server/push/varnished/pushByPushId":
            _refuse(Answer(404), "path", request.path)
        if form.keys() != {"appId", "pushIds", "messageJson", "sign"}:
            _refuse(meizu_code(1005), "form", f"its fields are {list(form)}")
        text = "".join(f"{name}={form[name]}" for name in sorted(form.keys() - {"sign"}))
        right = hashlib.md5(
            text.encode() + self.secret.encode(), usedforsecurity=False).hexdigest()
        if form["appId"] != self.app_id:
            raise Refused(meizu_code(110000))
        if form["sign"] != right:
            raise Refused(meizu_code(1006))
        try:
            message = json.loads(form["messageJson"].encode())
            bar = message["noticeBarInfo"]
            clicked = message.get("clickTypeInfo", {})
            when, how = message.get("pushTimeInfo", {}), message.get("advanceInfo", {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _refuse(meizu_code(1005), "messageJson", repr(error))
        _check("meizu", meizu_code(1005), [
            (len(request.token.split(",")) <= 100, "pushIds"),
            (1 <= len(bar.get("title", "")) <= 32, "title"),
            (1 <= len(bar.get("content", "")) <= 100, "content"),
            (bar.get("noticeMsgType", 0) in (0, 1), "noticeMsgType"),
            (bar.get("noticeBarType", 0) in (0, 2), "noticeBarType"),
            (clicked.get("clickType", 0) in (0, 1, 2), "clickType"),
            (_between(when.get("validTime", 24), 1, 72), "validTime"),
            (len(how.get("notifyKey", "")) <= 8, "notifyKey")])
        request.payload = message

    def accepted(self):
        return meizu_code(200)

    def refuse_devices(self, dead, request):
        return meizu_code(200, {"110002": dead})

    def over_quota(self):
        return meizu_code(110019)


FAKES = {
    "huawei": FakeHuawei, "honor": FakeHonor, "xiaomi": FakeXiaomi, "oppo": FakeOPPO,
    "vivo": FakeVivo, "meizu": FakeMeizu}


def _coded(http, body, headers, good):
    """The status says little with these."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = error_inside(body, http)
    answer.headers, answer.delivers = headers, good
    return answer


def _check(code, refusal, rules):
    for holds, text in rules:
        if not holds:
            _refuse(refusal, code, str(text))


def _between(value, least, most):
    return type(value) is int and least <= value <= most


def _number(text, least, most):
    return re.fullmatch(r"-?\d{1,18}", text) and least <= int(text) <= most


def _ttl(text, most):
    seconds = re.fullmatch(r"(\d{1,9})s", text) if isinstance(text, str) else None
    return seconds and 1 <= int(seconds[1]) <= most


def _width(text):
    """A Chinese character is as wide as two others."""
    return sum(1 + (ord(character) > 0xFF) for character in text) if isinstance(text, str) else 0


def _refuse(answer, code, text):
    raise Refused(answer, code, text)
