"""What the services of makers of Android telephones answer, in the words of `push_codes`."""

import json

from fake_vendors import (
    LOGIN, honor_code, huawei_code, meizu_code, oppo_code, vivo_code, xiaomi_code)
from push_codes import (
    ACCEPTED, EXPIRED, INVALID, QUOTA_DAY, REFUSED, REJECTED, Case, Outcome, retry)
from push_fakes import Answer


def huawei(device):
    """The answers may name the device."""
    def case(name, answer, outcome, *more):
        return Case("huawei", name, answer, outcome, *more)

    illegal = json.dumps({"success": 0, "failure": 1, "illegal_tokens": [device]})
    return [
        case("80000000", huawei_code(80000000, "Success"), ACCEPTED),
        case("80100000-with-the-token", huawei_code(80100000, illegal), INVALID),
        case("80300007", huawei_code(80300007), INVALID),
        *(case(f"{code}", huawei_code(code), EXPIRED) for code in (80200001, 80200003, 80200005)),
        *(case(f"{code}", huawei_code(code), REJECTED)
          for code in (80300008, 80300010, 80100001, 80100003, 80100004, 80100013, 80100016,
                       80100018)),
        case("80300002", huawei_code(80300002), REFUSED),
        # The message is sent once more without the haste.
        case("80300011", huawei_code(80300011), Outcome("retry", "device"), True),
        case("80600003", huawei_code(80600003), REFUSED),
        case("81000001", huawei_code(81000001, http=500), retry("circuit")),
        case("503", Answer(503), retry("circuit")),
        case("502", Answer(502), retry("circuit")),
        case("200-of-a-new-code", huawei_code(80999999), REJECTED, True),
        case("login-401", Answer(401, {"error": 1101}), REFUSED, True, LOGIN),
        case("login-503", Answer(503), retry("circuit"), True, LOGIN),
    ]


def honor(device):
    def case(name, answer, outcome, *more):
        return Case("honor", name, answer, outcome, *more)

    return [
        case("200", honor_code(200, good=True), ACCEPTED),
        case("0", honor_code(0, good=True), ACCEPTED),
        case("expireTokens", honor_code(200, expired=[device]), INVALID),
        # Those are deleted that go on failing.
        case("failTokens", honor_code(200, failed=[device]), retry("device")),
        case("80300007", honor_code(80300007), INVALID, True),
        case("401", honor_code(401, 401), EXPIRED, True),
        case("429", Answer(429), retry("circuit"), True),
        case("500", Answer(500), retry("circuit"), True),
        case("503", Answer(503), retry("circuit"), True),
        case("login-401", Answer(401, {"error": "invalid_client"}), REFUSED, True, LOGIN),
    ]


def xiaomi(device):
    def case(name, answer, outcome, *more):
        return Case("xiaomi", name, answer, outcome, *more)

    return [
        case("0", xiaomi_code(0), ACCEPTED),
        case("0-with-the-token", xiaomi_code(0, bad=[device]), INVALID),
        case("20301", xiaomi_code(20301), INVALID),
        *(case(f"{code}", xiaomi_code(code), retry("circuit"))
          for code in (10002, 10003, 10027, 10037)),
        case("200001", xiaomi_code(200001), QUOTA_DAY),
        case("21301", xiaomi_code(21301), REFUSED),
        *(case(f"{code}", xiaomi_code(code), REJECTED) for code in (65015, 10017, 22000)),
        case("500", Answer(500), retry("circuit"), True),
    ]


def oppo(_):
    def case(name, answer, outcome, *more):
        return Case("oppo", name, answer, outcome, *more)

    return [
        case("0", oppo_code(0, "Success"), ACCEPTED),
        case("11", oppo_code(11, "Invalid AuthToken"), EXPIRED),
        case("13", oppo_code(13), retry("circuit", 60)),
        case("33", oppo_code(33), QUOTA_DAY),
        case("10000", oppo_code(10000), INVALID),
        *(case(f"{code}", oppo_code(code), retry("circuit")) for code in (-1, -2)),
        case("12", oppo_code(12), REFUSED),
        case("new-code", oppo_code(99), REJECTED, True),
        case("500", Answer(500), retry("circuit"), True),
        case("login-14", oppo_code(14), REFUSED, True, LOGIN),
    ]


def vivo(device):
    def case(name, answer, outcome, *more):
        return Case("vivo", name, answer, outcome, *more)

    return [
        case("0", vivo_code(0), ACCEPTED),
        case("0-with-the-token", vivo_code(0, [device]), INVALID),
        case("10000", vivo_code(10000), EXPIRED),
        case("10302", vivo_code(10302), INVALID),
        case("10070", vivo_code(10070), QUOTA_DAY),
        case("10072", vivo_code(10072), retry("circuit")),
        *(case(f"{code}", vivo_code(code), retry("circuit"), True) for code in (10252, 10254)),
        case("10094", vivo_code(10094), REFUSED),
        case("new-code", vivo_code(10199), REJECTED, True),
        case("500", Answer(500), retry("circuit"), True),
        case("login-10000", vivo_code(10000), REFUSED, True, LOGIN),
        case("login-10093", vivo_code(10093), retry("circuit"), False, LOGIN),
    ]


def meizu(device):
    def case(name, answer, outcome, *more):
        return Case("meizu", name, answer, outcome, *more)

    def inside(code):
        return meizu_code(200, {str(code): [device]})

    return [
        case("200", meizu_code(200), ACCEPTED),
        *(case(f"200-with-{code}", inside(code), INVALID) for code in (110002, 110003, 110010)),
        *(case(f"200-with-{code}", inside(code), retry("device")) for code in (501, 513, 519, 520)),
        case("200-with-201", inside(201), REJECTED),
        case("200-with-110011", inside(110011), QUOTA_DAY),
        case("110010", meizu_code(110010), retry("circuit")),
        case("1003", meizu_code(1003), retry("circuit")),
        *(case(f"{code}", meizu_code(code), QUOTA_DAY) for code in (110019, 110051, 110053)),
        *(case(f"{code}", meizu_code(code), REFUSED)
          for code in (1006, 110000, 110001, 110031, 110033, 110009)),
        case("500", Answer(500), retry("circuit"), True),
    ]


TABLES = {
    "huawei": huawei, "honor": honor, "xiaomi": xiaomi, "oppo": oppo, "vivo": vivo,
    "meizu": meizu}
