"""The fakes of the services of makers of Android telephones accept what is right and refuse what is
wrong."""

import hashlib
import json
import time
import urllib.parse

import pytest

import push_codes_vendors
from fake_vendors import FAKES

TOKEN = "registration-1"
_FORM = "application/x-www-form-urlencoded"


class Sender:
    """Logs in and sends as a vendor wants it; `change` alters the parts of a message, where None
    leaves one out."""

    def __init__(self, fake, client):
        self.fake, self.client = fake, client
        self.access = None

    def form(self, path, fields, **headers):
        return self.client.post(
            path, urllib.parse.urlencode(fields), content_type=_FORM, **headers)

    def log_in(self, secret=None):
        reply = self.ask_for_access(secret or self.fake.secret)
        self.access = self.access_in(reply.json) if reply.status == 200 else None
        return reply

    def ask_for_access(self, secret):
        return self.form(self.fake.login_paths[0], {
            "grant_type": "client_credentials", "client_id": self.fake.app_id,
            "client_secret": secret})

    def access_in(self, document):
        return document.get("access_token")

    def send(self, device=TOKEN, **change):
        fields = {**self.message(device), **change}
        return self.post({name: value for name, value in fields.items() if value is not None})


class Huawei(Sender):
    wrong = [{"android": {"collapse_key": 101}}, {"android": {"urgency": "high"}},
             {"android": {"ttl": "60"}}, {"data": {"a": "b"}}, {"data": "x" * 4097},
             {"android": {"notification": {"title": "x", "body": "x"}}}, {"android": []},
             {"token": TOKEN}, {"token": []}, {"to": "x"}, {"data": None}]

    def message(self, token):
        return {"token": [token], "data": "x",
                "android": {"collapse_key": -1, "urgency": "HIGH", "ttl": "60s"}}

    def post(self, message):
        return self.client.post(
            f"/v1/{self.fake.app_id}/messages:send", {"message": message},
            authorization=f"Bearer {self.access}")


class Honor(Sender):
    wrong = [{"android": {"ttl": "1296001s"}}, {"data": 1}, {"to": "x"}, {"token": None},
             {"android": {"notification": {"importance": "HIGH", "clickAction": {"type": 1}}}},
             {"time": 12}]

    def message(self, token):
        return {"token": [token], "data": "x", "time": int(time.time() * 1000)}

    def post(self, message):
        moment = message.pop("time")
        return self.client.post(
            f"/api/v1/{self.fake.app_id}/sendMessage", message, timestamp=moment,
            authorization=f"Bearer {self.access}")


class Xiaomi(Sender):
    wrong = [{"title": "x" * 50}, {"description": None}, {"restricted_package_name": None},
             {"notify_id": -1}, {"time_to_live": 864000001}, {"extra.jobkey": "x" * 21},
             {"extra.more": "x" * 2048}, {"registration_id": None}, {"colour": "red"}]

    def message(self, token):
        return {"registration_id": token, "restricted_package_name": "org.example.app",
                "title": "New", "description": "New", "notify_id": 1, "time_to_live": 60000,
                "extra.channel_id": "1"}

    def log_in(self, secret=None):
        self.access = secret or self.fake.secret

    def post(self, message):
        return self.form("/v3/message/regid", message, authorization=f"key={self.access}")


class OPPO(Sender):
    wrong = [{"title": "x" * 51}, {"content": "x" * 51}, {"content": None},
             {"click_action_type": 3}, {"notify_level": 2, "category": None},
             {"off_line_ttl": 864001}]

    def message(self, token):
        return {"to": token, "title": "New", "content": "New", "off_line_ttl": 60,
                "app_message_id": "1", "category": "IM"}

    def ask_for_access(self, secret):
        moment = str(int(time.time() * 1000))
        sign = hashlib.sha256((self.fake.app_key + moment + secret).encode()).hexdigest()
        return self.form("/server/v1/auth", {
            "app_key": self.fake.app_key, "timestamp": moment, "sign": sign})

    def access_in(self, document):
        return document["data"].get("auth_token")

    def post(self, message):
        text = json.dumps({
            "target_type": 2, "target_value": message.pop("to"), "notification": message})
        return self.form(
            "/server/v1/message/notification/unicast",
            {"message": text, "auth_token": self.access})


class Vivo(Sender):
    wrong = [{"title": "字" * 21}, {"content": "x" * 101}, {"requestId": None},
             {"timeToLive": 59}, {"skipType": 3}, {"notifyType": 0}, {"classification": 2},
             {"appId": 5}, {"clientCustomMap": {"a": "x" * 1024}}, {"regId": None}]

    def message(self, token):
        return {"appId": int(self.fake.app_id), "regId": token, "notifyType": 4, "title": "New",
                "content": "New", "timeToLive": 60, "skipType": 1, "classification": 1,
                "requestId": "1", "category": "IM"}

    def ask_for_access(self, secret):
        moment = int(time.time() * 1000)
        text = f"{self.fake.app_id}{self.fake.app_key}{moment}{secret}"
        return self.client.post("/message/auth", {
            "appId": int(self.fake.app_id), "appKey": self.fake.app_key, "timestamp": moment,
            "sign": hashlib.md5(text.encode()).hexdigest()})

    def access_in(self, document):
        return document.get("authToken")

    def post(self, message):
        return self.client.post("/message/send", message, authtoken=self.access)


class Meizu(Sender):
    wrong = [{"title": "x" * 33}, {"content": ""}, {"validTime": 73}, {"notifyKey": "x" * 9}]

    def message(self, token):
        return {"to": token, "title": "Neü", "content": "New", "validTime": 1,
                "notifyKey": "12345678"}

    def log_in(self, secret=None):
        self.access = secret or self.fake.secret

    def post(self, message):
        fields = {"appId": self.fake.app_id, "pushIds": message.pop("to"),
                  "messageJson": json.dumps({
                      "noticeBarInfo": {"title": message["title"], "content": message["content"]},
                      "pushTimeInfo": {"offLine": 1, "validTime": message["validTime"]},
                      "advanceInfo": {"notifyKey": message["notifyKey"]}}, ensure_ascii=False)}
        text = "".join(f"{name}={fields[name]}" for name in sorted(fields)) + self.access
        fields["sign"] = hashlib.md5(text.encode()).hexdigest()
        return self.form("/garcia/api/server/push/varnished/pushByPushId", fields)


SENDERS = {"huawei": Huawei, "honor": Honor, "xiaomi": Xiaomi, "oppo": OPPO, "vivo": Vivo,
           "meizu": Meizu}


@pytest.fixture(params=SENDERS)
def sender(request, start_fake):
    made = SENDERS[request.param](*start_fake(FAKES[request.param]))
    made.name = request.param
    made.log_in()
    return made


def test_they_take_what_is_right(sender):
    fake = sender.fake
    assert sender.send().status == 200
    fake.check()
    assert fake.delivered == {TOKEN: 1}
    fake.dead.add(TOKEN)
    assert sender.send().status == 200
    assert sender.send("registration-2").status == 200
    fake.check()
    assert fake.delivered == {TOKEN: 1, "registration-2": 1}
    assert fake.connections == 1


def test_they_refuse_what_is_wrong(sender):
    for change in sender.wrong:
        sender.send(**change)
        assert len(sender.fake.take_violations()) == 1, change
    assert sender.fake.delivered == {}
    assert sender.client.request("GET", "/").status == 404
    assert sender.fake.take_violations() == ["method"]


def altered(sender, monkeypatch, alter):
    """From now on requests go out as `alter` makes them of what is right."""
    post = type(sender.client).post
    monkeypatch.setattr(
        sender.client, "post", lambda target, body=None, **headers: post(
            sender.client, *alter(target, body)[:2], **{**headers, **alter(target, body)[2]}))


def with_one_more(body):
    return {**body, "x": 1} if isinstance(body, dict) else f"{body}&x=1"


def test_they_refuse_what_is_odd(sender, monkeypatch):
    fake, logs_in = sender.fake, bool(sender.fake.login_paths)
    altered(sender, monkeypatch, lambda target, body: ("/elsewhere", body, {}))
    sender.send()
    assert fake.take_violations() == ["path"]
    altered(sender, monkeypatch, lambda target, body: (
        target, body, {"content_type": "text/plain"}))
    sender.send()
    if logs_in:
        sender.ask_for_access(fake.secret)
    codes = fake.take_violations()
    assert len(codes) == 1 + logs_in and set(codes) <= {"form", "json"}
    altered(sender, monkeypatch, lambda target, body: (target, with_one_more(body), {}))
    if logs_in:
        sender.ask_for_access(fake.secret)
        assert fake.take_violations() == ["login"]
    if sender.name in ("huawei", "meizu"):
        sender.send()
        assert fake.take_violations() in (["message"], ["form"])
    assert fake.delivered == {}
    assert fake.grants == logs_in


def test_they_look_into_documents_within_forms(start_fake):
    oppo = OPPO(*start_fake(FAKES["oppo"]))
    oppo.form("/server/v1/message/notification/unicast", {"message": "{"})
    assert oppo.fake.take_violations() == ["message"]
    meizu = Meizu(*start_fake(FAKES["meizu"]))
    fields = {"appId": meizu.fake.app_id, "messageJson": "{}", "pushIds": TOKEN}
    text = "".join(f"{name}={value}" for name, value in fields.items()) + meizu.fake.secret
    fields["sign"] = hashlib.md5(text.encode()).hexdigest()
    path = "/garcia/api/server/push/varnished/pushByPushId"
    meizu.form(path, fields)
    assert meizu.fake.take_violations() == ["messageJson"]
    meizu.fake.app_id = "100002"
    assert meizu.form(path, fields).json["code"] == "110000"


def test_vivo_looks_at_the_time(start_fake):
    vivo = Vivo(*start_fake(FAKES["vivo"]))
    vivo.fake.clock_offset = 660
    assert vivo.log_in().json["result"] == 10000
    assert vivo.fake.take_violations() == ["timestamp"]


def test_they_want_the_right_secret(sender):
    """Which is no violation, for a person may have mistyped it."""
    sender.log_in("wrong")
    sender.send()
    if sender.fake.login_paths:
        sender.log_in()
        sender.fake.revoke_access()
        sender.send()
    sender.fake.check()
    assert sender.fake.delivered == {}
    sender.log_in()
    sender.send()
    assert sender.fake.delivered == {TOKEN: 1}


def test_they_say_every_code(sender):
    for case in push_codes_vendors.TABLES[sender.name](TOKEN):
        if case.token is None:
            before = sender.fake.delivered[TOKEN]
            case.script(sender.fake, TOKEN)
            reply = sender.send()
            assert (reply.status, reply.body) == (case.status, case.body)
            taken = sender.fake.delivered[TOKEN] - before
            assert taken == (case.outcome.kind == "accepted"), case
    sender.fake.check()
    sender.fake.quota = 0
    before = sender.fake.delivered[TOKEN]
    sender.send()
    assert sender.fake.delivered[TOKEN] == before
