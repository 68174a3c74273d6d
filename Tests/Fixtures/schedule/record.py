"""Records what croniter and systemd make of schedules; README.md says how."""

import os
import random
import re
import subprocess
import sys
from datetime import datetime, timezone

BASES = [1_795_219_200, 1_709_164_799, 1_767_225_599, 1_740_787_200, 1_774_742_399]


def cron():
    from croniter import croniter

    random.seed(6)

    def part(low, high, names=()):
        kind = random.randrange(7)
        # croniter takes a range of one number for all numbers
        a, b = sorted(random.sample(range(low, high + 1), 2))
        if kind == 0:
            return "*"
        if kind == 1:
            return f"*/{random.randint(1, high)}"
        if kind == 2:
            return f"{a}-{b}"
        if kind == 3:
            return f"{a}-{b}/{random.randint(1, 9)}"
        if kind == 4:
            return ",".join(str(random.randint(low, high)) for _ in range(random.randint(2, 4)))
        if kind == 5 and names:
            return names[a - low] + "-" + names[b - low]
        return str(a)

    months = "jan feb mar apr may jun jul aug sep oct nov dec".split()
    days = "sun mon tue wed thu fri sat".split()
    expressions = ["0 0 29 2 *", "0 0 31 * *", "0 0 30 2 *", "0 0 13 * 5", "0 0 * * 7", "0 0 * * 5-7",
                   "59 23 31 12 *", "0 0 29 2 1", "*/7 */5 * * *", "5/15 * * * *"]
    while len(expressions) < 260:
        dom, dow = part(1, 31), part(0, 6, days)
        if random.randrange(2):
            dom = "*"
        if dom != "*" and dow != "*" and "*" in dom + dow:
            continue  # croniter and cron differ over whether */2 restricts
        expressions.append(" ".join([part(0, 59), part(0, 23), dom, part(1, 12, months), dow]))
    for index, expression in enumerate(expressions):
        base = BASES[index % len(BASES)]
        try:
            times = croniter(expression, datetime.fromtimestamp(base, timezone.utc),
                             max_years_between_matches=60)
            result = [str(int(times.get_next(float))) for _ in range(5)]
        except Exception as error:  # "failed to find next date"
            result = ["never" if "find" in str(error) else "invalid"]
        print(base, expression, " ".join(result), sep="\t")


CALENDAR = """\
Mon..Fri *-*-* 10:00|*-*~01 03:00|*-02~03|Mon *-05~07/1|*-*-* *:00/15|quarterly|semiannually|yearly
hourly|daily|weekly|monthly|minutely|annually|bi-annually|semi-annually|DAILY|daily UTC|12-25
Sat *-*-1..7 18:00|2/3|12:34|Wed,Fri..Sun|*-*-*|10..14:00|8..18/2:00|*-2-29 00:00|*-2-30|2020-01-01
Mon..Mon 10:00|Sun..Tue|Mon..|2026..2028-01-01|99-1-1|69-1-1|*:*|*:*:*|00:00:00/7|*-*-31~1|5
10:00 UTC|Mon|1,15|*-1/2-1|*-*~7/1|*-*~1..3|*-*~3..1|*:*/5|*-*-* */2:00|Mon-Fri 10:00|mon 10:00
MONDAY|*-*~1..3/2|24:00|*-13-1|*-*-0|*-*-32|10:60|*:*:60|2026-1-1/0|1,2-*|Mon,*|*|*-*
*-*-5,1..3,20/5 1,2,3:0|10..8:00|2200-1-1|1969-1-1|2199-12-31|*-1..3/2-1|*:5..50/20|Mon  10:00
daily 10:00|2026/2-1-1|2026..2030/2-1-1|*-*-*T10:00|Tue..Thu,Sun 1:2:3|*-*-* 3:0|*-*-* 03|100-1-1
Mon,,Tue|1,,2:00|*-*-*  UTC|Fri *-*~7/1|*-2..3~1|*-4~31|*-*~30|*-*~12/5|*-*~5,2|Sun *-*~7/1 02:00
Mon *-2-29|*-*-31 23:59:59|Sun *-2,5,8-1..7 4:5:6|*-*-* 0..23/7:0..59/13:1..50/9|Sat,Sun 12:00
2024-2-29 12:00|*-*-13 00:00|Fri *-*-13|Fri *-1..12/5-13|*-12-31 23:59:30/10|*-*~28|*-02~28
Mon *-*-* 10:00 Europe/Berlin|*-*-* 02:30 America/New_York|*-*-* 00/6:00 Asia/Kathmandu
weekly Europe/Berlin|*-*~1 23:00 Australia/Lord_Howe|monthly Pacific/Apia|Tue..Thu 4:15 Asia/Tehran
*-7,8-* 05:00 America/St_Johns|12:00 Mars/Olympus|Mon *-1..2-* 7:7 Africa/Casablanca
"""


def calendar():
    random.seed(7)

    def part(low, high):
        kind = random.randrange(6)
        a, b = sorted((random.randint(low, high), random.randint(low, high)))
        if kind == 0:
            return "*"
        if kind == 1:
            return f"{a}..{b}"
        if kind == 2 and b - a > 1:
            return f"{a}..{b}/{random.randint(1, b - a)}"
        if kind == 3:
            return ",".join(str(random.randint(low, high)) for _ in range(random.randint(2, 4)))
        if kind == 4 and a < high:
            return f"{a}/{random.randint(1, high - a)}"
        return str(a)

    expressions = [e for line in CALENDAR.splitlines() for e in line.split("|")]
    days = "Mon Tue Wed Thu Fri Sat Sun".split()
    for _ in range(170):
        a, b = sorted((random.randrange(7), random.randrange(7)))
        day = random.choice(["", "", days[a] + " ", f"{days[a]}..{days[b]} ", f"{days[b]},{days[a]} "])
        year = random.choice(["*", "*", "*", "2027..2031", "2026/3"])
        date = random.choice([f"{year}-{part(1, 12)}-{part(1, 31)}", f"*-{part(1, 12)}-*",
                              f"*-*~{random.randint(1, 28)}"])
        expressions.append(f"{day}{date} {part(0, 23)}:{part(0, 59)}:{random.choice(['0', '30', part(0, 59)])}")
    environment = dict(os.environ, TZ="UTC", SYSTEMD_LOG_LEVEL="err", LANG="C")
    for index, expression in enumerate(expressions):
        base = BASES[index % len(BASES)]
        call = subprocess.run(
            ["systemd-analyze", "calendar", "--iterations=5", f"--base-time=@{base}", expression],
            capture_output=True, text=True, env=environment)
        found = re.findall(r"(?:Next elapse|Iter. #\d): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", call.stdout)
        if call.returncode:
            result = ["invalid"]
        elif found:
            result = [str(int(datetime.strptime(f + "+0000", "%Y-%m-%d %H:%M:%S%z").timestamp()))
                      for f in found]
        else:
            result = ["never"]
        print(base, expression, " ".join(result), sep="\t")


{"cron": cron, "calendar": calendar}[sys.argv[1]]()
