"""The real program at the firmware's device nodes, which a preloaded library answers (vcio.c)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kinglet import FIXTURES
from test_hardware import lines_of
from waiting import eventually

SOURCE = Path(__file__).with_name("vcio.c")
# What asks the firmware, on every model.
ASKING = ("temperature", "trip_points", "throttling", "voltage", "clocks", "firmware")
# What does not.
OTHERS = ("model", "cpu_frequency")
RAILS = ("core", "sdram_c", "sdram_i", "sdram_p")
CLOCKS = ("arm", "core", "v3d", "isp", "emmc")
COMMANDS = {
    "measure_temp", "measure_temp pmic", "get_throttled", "version",
    *(f"measure_volts {rail}" for rail in RAILS), *(f"measure_clock {clock}" for clock in CLOCKS)}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    library = tmp_path_factory.mktemp("vcio") / "vcio.so"
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"],
        check=True)
    return library


class Firmware:
    """A recorded machine whose firmware is behind device nodes, not in a recording."""

    def __init__(self, tree, directory, library, nodes):
        self.tree = FIXTURES / "hardware" / tree
        self.folder = directory / "firmware"
        self.folder.mkdir()
        self.root = directory / "root"
        shutil.copytree(self.tree, self.root)
        (self.root / "mailbox").rename(self.folder / "answers")
        (self.root / "dev").mkdir(exist_ok=True)
        for node in nodes:
            (self.root / "dev" / node).touch()
        self.environment = {"LD_PRELOAD": str(library), "VCIO": str(self.folder)}

    def fail(self, mode, *nodes):
        for node in nodes:
            # Complete when it is seen: the library looks at it all the time.
            draft = self.folder / "draft"
            draft.write_text(mode)
            draft.rename(self.folder / f"{node}.mode")

    def recover(self):
        for file in self.folder.glob("*.mode"):
            file.unlink()

    def _notes(self, name):
        file = self.folder / name
        return file.read_text(errors="replace").splitlines() if file.exists() else []

    @property
    def questions(self):
        return self._notes("questions")

    @property
    def violations(self):
        return self._notes("violations")

    @property
    def _page(self):
        return (self.tree / "expected.prom").read_text().splitlines()

    @property
    def expected(self):
        return pi_lines(self._page)

    @property
    def readings(self):
        return {
            line.split('"')[1] for line in self._page
            if line.startswith("kinglet_hardware_reading_success{")}


def pi_lines(lines):
    """Values of the Pi that do not depend on what the server did before."""
    return sorted(
        line for line in lines if line.startswith("rpi_") and "_events_total" not in line)


@pytest.fixture
def firmware(tmp_path, library, make_server):
    """Starts a server on a machine; at the end, nothing may have been asked that must not be."""
    made = []

    def start(tree="pi4-healthy", nodes=("vcio", "vcio_gencmd"), failing=(), mode=None):
        firmware = Firmware(tree, tmp_path, library, nodes)
        firmware.fail(mode, *failing)
        server = make_server(settings={"hardware.root": str(firmware.root)})
        server.start(environment=firmware.environment)
        made.append(firmware)
        return server, firmware

    yield start
    for each in made:
        assert each.violations == []


def states(server):
    """Which readings succeed."""
    return {
        sample.labels["reading"]: sample.value for sample in server.samples()
        if sample.name == "kinglet_hardware_reading_success"}


def shows(server, expected):
    eventually(
        lambda: pi_lines(lines_of(server)) == expected,
        lambda: f"these lines: {set(expected) ^ set(pi_lines(lines_of(server)))}")


def read_once(server, machine):
    """Until all readings that the machine has, have an outcome."""
    eventually(lambda: machine.readings <= set(states(server)), "all readings")


def shows_what_is_read_often(server, machine):
    """What is read every few seconds; the versions are next read after minutes."""
    wanted = {
        line for line in machine.expected
        if line.startswith(("rpi_temperature_celsius", "rpi_throttled", "rpi_undervoltage"))}
    eventually(lambda: wanted <= set(lines_of(server)), lambda: f"these lines: {wanted}")


@pytest.mark.parametrize("tree", ["pi4-throttled", "pi5"])
def test_commands_are_asked_first(firmware, tree):
    """The machines that have vcio_gencmd show what their recording shows; nothing that a command
    tells is asked by tag."""
    server, machine = firmware(tree)
    shows(server, machine.expected)
    assert all(value == 1 for value in states(server).values())
    own = {"pmic_read_adc"} if tree == "pi5" else {"bootloader_version"}
    assert set(machine.questions) == {
        *(f"vcio_gencmd gencmd {command}" for command in COMMANDS | own), "vcio 0x0003000a 0"}


@pytest.mark.parametrize("tree", ["pi4-healthy", "pi4-undervoltage", "cm4"])
def test_tags_without_the_command_node(firmware, tree):
    """An older kernel: tags, and through the same node the commands that no tag equals."""
    server, machine = firmware(tree, nodes=["vcio"])
    shows(server, machine.expected)
    assert all(value == 1 for value in states(server).values())
    tags = {
        "vcio 0x00030006 0", "vcio 0x0003000a 0", "vcio 0x00030046 0",
        *(f"vcio 0x00030003 {rail}" for rail in (1, 2, 3, 4)),
        *(f"vcio 0x00030047 {clock}" for clock in (1, 3, 4, 5, 7))}
    commands = {"vcio gencmd measure_temp pmic", "vcio gencmd version"}
    assert tags | commands <= set(machine.questions)
    assert set(machine.questions) - tags - commands <= {
        "vcio 0x00000001 0", "vcio gencmd bootloader_version"}


def test_tags_where_the_firmware_does_not_know_the_commands(firmware):
    """The node is there, and the firmware answers that the commands are not registered."""
    server, machine = firmware("pi4-undervoltage")
    shows(server, machine.expected)
    assert all(value == 1 for value in states(server).values())


@pytest.mark.parametrize("mode", ["refused", "forbidden", "failed", "noise", "nonsense"])
def test_a_failing_command_node_costs_nothing_that_a_tag_tells(firmware, mode):
    """By permission, by the firmware's own word, and by garbage: what the tags tell is shown."""
    server, machine = firmware(failing=["vcio_gencmd"], mode=mode)
    read_once(server, machine)
    shown = set(pi_lines(lines_of(server)))
    lost = set(machine.expected) - shown
    # Commands that no tag equals: asked again by the other node only if this one did not answer.
    if mode in ("refused", "forbidden"):
        assert lost == set()
        assert all(value == 1 for value in states(server).values())
    else:
        assert {line.partition(" ")[0].partition("{")[0] for line in lost} <= {
            "rpi_firmware_info", "rpi_firmware_build_timestamp_seconds",
            "rpi_temperature_celsius"}
        assert 'rpi_temperature_celsius{sensor="soc_firmware"} 47.225' in shown
        assert states(server)["throttling"] == 1
        assert states(server)["temperature"] == 0
    assert shown <= set(machine.expected)


@pytest.mark.parametrize(
    "mode", ["refused", "forbidden", "timeout", "failed", "noise", "nonsense"])
def test_a_failing_firmware_is_a_failed_reading(firmware, mode):
    """No value of it is shown, the kernel's are, and the log says why."""
    server, machine = firmware("pi5", failing=["vcio", "vcio_gencmd"], mode=mode)
    read_once(server, machine)
    state = states(server)
    assert {name for name, value in state.items() if value == 0} == set(ASKING)
    assert all(state[name] == 1 for name in (*OTHERS, "fan", "rtc", "supply"))
    shown = pi_lines(lines_of(server))
    assert set(shown) <= set(machine.expected)
    assert [line for line in shown if line.startswith("rpi_temperature_celsius")] == [
        'rpi_temperature_celsius{sensor="rp1"} 48.211',
        'rpi_temperature_celsius{sensor="soc"} 52.35']
    # From the kernel's alarm; of the other conditions nothing is known.
    assert "rpi_undervoltage_active 0" in shown
    for family in ("rpi_throttled_active", "rpi_voltage_volts", "rpi_clock_frequency_hertz"):
        assert not any(line.startswith(family) for line in shown)
    line = server.log.line_with("hardware reading fails")
    assert ("the firmware answered" if mode == "nonsense" else "/dev/vcio") in line


def test_a_silent_firmware_is_left_alone_and_asked_again(firmware):
    """One question without an answer, not fifteen; when it answers again, its values are shown."""
    server, machine = firmware(
        "pi4-throttled", failing=["vcio", "vcio_gencmd"], mode="timeout")
    read_once(server, machine)
    assert len(machine.questions) == 1 and machine.questions[0].endswith(" timeout")
    machine.recover()
    shows_what_is_read_often(server, machine)
    assert states(server)["throttling"] == 1


def test_a_hanging_firmware_holds_up_no_scrape(firmware):
    """Scrapes are answered while a question hangs, and afterwards the values come."""
    server, machine = firmware(failing=["vcio", "vcio_gencmd"], mode="hang")
    eventually(
        lambda: any(question.endswith(" hangs") for question in machine.questions),
        "a question that hangs")
    for _ in range(5):
        assert server.metric("kinglet_connections") == 0
        assert not any("soc_firmware" in line for line in lines_of(server))
    machine.recover()
    shows_what_is_read_often(server, machine)
