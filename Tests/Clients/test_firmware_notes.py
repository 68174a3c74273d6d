"""firmware-notes/: every alert has its section, every metric and link exists, snippets are well-formed."""

import re
import shutil
import subprocess

import pytest

from kinglet import FIXTURES, REPOSITORY

NOTES = REPOSITORY / "firmware-notes"
PAGES = sorted(NOTES.glob("*.md"))
RULES = sorted(
    path for path in (REPOSITORY / "alerts").glob("*.rules.yml") if ".test." not in path.name)
UNTRIED = "untried here"
METRIC = re.compile(r"(?<![\w/.:$-])(?:kinglet|rpi)_[a-z0-9_]*[a-z0-9]\b")
# A driver of the kernel's and a directory in sysfs.
NO_METRICS = {"rpi_volt", "rpi_rtc"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, *languages):
    """The code blocks in these languages, each with the paragraph before it."""
    text = page.read_text()
    return [
        (" ".join(text[:block.start()].rstrip().rpartition("\n\n")[2].split()), block[2])
        for block in re.finditer(r"(?ms)^```(\w*)\n(.*?)^```$", text) if block[1] in languages
    ]


def headings(page):
    """The second-level headings; what begins with # inside a code block is none."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
    return re.findall(r"(?m)^## (.+)$", text)


def alerts():
    """Name and runbook of each alert."""
    found = []
    for path in RULES:
        for rule in re.split(r"(?m)^ *- (?=alert:|record:)", path.read_text()):
            name = re.match(r"alert: (\w+)", rule)
            if name:
                found.append((name[1], re.findall(r"runbook_url: *(\S+)", rule)))
    return found


def known_metrics():
    """Every name that the program's sources declare or that a recorded machine shows."""
    known = set()
    for path in (FIXTURES / "hardware").glob("*/expected.prom"):
        known |= set(METRIC.findall(path.read_text()))
    for path in (REPOSITORY / "Sources").rglob("*.swift"):
        text = path.read_text()
        known |= set(METRIC.findall(text))
        # Some put a name together, of a beginning and an end in the same file.
        words = {word for literal in re.findall(r'"([^"\n]*)"', text)
                 for word in re.findall(r"[a-z][a-z0-9_]*", literal)}
        for prefix in re.findall(r'"((?:kinglet|rpi)_[a-z0-9_]*_)(?="|\\\()', text):
            known |= {prefix + word for word in words}
    return known


def is_known(name, known):
    """Whether it is a metric or a series of one."""
    return name in known or re.sub(r"_(bucket|count|sum)$", "", name) in known


def unknown_metrics(page, known):
    """The metrics that a page names and nobody knows: in full, or by their end after a full name."""
    unknown, last = [], None
    for span in re.findall(r"`([^`\n]+)`", page.read_text()):
        for name in METRIC.findall(span):
            if name not in NO_METRICS:
                last = name
                if not is_known(name, known):
                    unknown.append(name)
        if last and re.fullmatch(r"_[a-z0-9_]*[a-z0-9]", span):
            parts = last.split("_")
            beginnings = ("_".join(parts[:count]) for count in range(1, len(parts)))
            if not any(is_known(beginning + span, known) for beginning in beginnings):
                unknown.append(f"{last} … {span}")
    return unknown


def test_every_alert_has_a_section_that_its_runbook_names():
    """So that whoever is woken by it finds what to do."""
    found = alerts()
    assert len(found) > 10
    for name, runbooks in found:
        assert len(runbooks) == 1, f"{name} has {len(runbooks)} runbooks"
        path, _, anchor = runbooks[0].partition("#")
        page = REPOSITORY / path
        assert page.is_file(), f"{name}: there is no {path}"
        assert anchor == name.lower(), f"{name}: its runbook is {runbooks[0]}"
        assert name in headings(page), f"{name}: {path} has no section of that name"


def test_every_section_of_an_alert_is_that_of_an_alert_there_is():
    names = {name for name, _ in alerts()}
    sections = {
        heading for page in PAGES for heading in headings(page)
        if re.fullmatch(r"(Kinglet|Machine|RaspberryPi)[A-Z]\w+", heading)}
    assert sections <= names, sorted(sections - names)


def test_every_alert_is_in_the_index():
    """By its name, or by a beginning of it that ends in …; `…Often` goes with the name before."""
    index = (NOTES / "README.md").read_text()
    assert {f"({page.name})" for page in PAGES if page.name != "README.md"} <= set(
        re.findall(r"\(\w[\w-]*\.md\)", index))
    rows = {
        row[1]: row[2] for row in re.finditer(r"(?m)^\| \[([\w-]+\.md)\].*\| (.*) \|$", index)}
    for name, runbooks in alerts():
        page = runbooks[0].partition("#")[0].rpartition("/")[2]
        words = re.findall(r"…?\w+…?", rows[page])
        listed = any(
            name == word or word.endswith("…") and name.startswith(word[:-1])
            or word.startswith("…") and name.endswith(word[1:]) for word in words)
        if not listed:
            assert page == "server.md" and name.startswith("Kinglet"), f"{name}: not in the index"


@each_page
def test_every_metric_is_one_that_the_program_has(page):
    assert not unknown_metrics(page, known_metrics())


@each_page
def test_every_link_leads_somewhere(page):
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            path = target.partition("#")[0]
            assert (page.parent / path).exists(), f"{page.name} links to {target}"


@each_page
def test_shell_blocks_parse(page):
    for _, block in blocks(page, "sh"):
        done = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{done.stderr}\n{block}"


@each_page
def test_what_only_a_pi_can_run_is_marked(page):
    """Nobody could try it here, and the reader has to know."""
    for before, block in blocks(page, "sh"):
        if re.search(r"\b(vcgencmd|raspi-config|rpi-eeprom-\w+|dphys-swapfile)\b", block):
            assert UNTRIED in before, f"{page.name}: not marked:\n{block}"


@each_page
def test_sysctl_blocks_are_settings(page):
    """sysctl.d(5); each setting with the reason for it is another matter."""
    for _, block in blocks(page, "sysctl"):
        for line in block.splitlines():
            assert re.fullmatch(r"#.*|[a-z0-9_-]+(\.[a-z0-9_-]+)+ = \S.*", line), line


@each_page
def test_nftables_blocks_are_rules(page):
    """nft's own check, which needs a network namespace to look at."""
    rules = blocks(page, "nft")
    if rules and shutil.which("nft") is None:
        pytest.skip("there is no nft")
    for _, block in rules:
        done = subprocess.run(
            ["unshare", "--map-root-user", "--net", "nft", "-c", "-f", "-"], input=block,
            capture_output=True, text=True, timeout=60)
        if "unshare" in done.stderr:
            pytest.skip(f"no network namespace: {done.stderr}")
        assert (done.returncode, done.stderr) == (0, ""), block
