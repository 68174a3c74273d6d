"""A UPS behind a NUT server: healthy, on battery, lost by its driver; and servers that stall."""

import tempfile
import time

import pytest

from kinglet import FIXTURES, run
from nut_server import DummyUPS, ScriptedServer
from waiting import eventually

# What --isolated does, but for the UPS.
LOOPBACK = {
    "listen.addresses": "127.0.0.1", "listen.client_port": "0", "listen.client_tls_port": "0",
    "listen.server_port": "0",
    "listen.web_port": "0",
    "metrics.port": "0",
}
# A reading every 15 seconds, and one that stalls in between takes 8.
READ = 40
HEALTHY = {
    "ups.status": "OL", "battery.charge": "100", "battery.runtime": "1830", "ups.load": "17",
    "input.voltage": "230.4", "device.mfr": "Example", "device.model": "Back 700",
}


@pytest.fixture
def nut():
    server = ScriptedServer({"rack": dict(HEALTHY)})
    yield server
    server.close()


def start(make_server, address, **settings):
    kinglet = make_server(settings={**LOOPBACK, "hardware.ups": address, **settings})
    return kinglet.start(isolated=False)


def ups(kinglet):
    """The values of the UPS metrics, by name and UPS."""
    return {
        (sample.name.removeprefix("kinglet_machine_ups_"), sample.labels["ups"]): sample.value
        for sample in kinglet.samples() if sample.name.startswith("kinglet_machine_ups_")}


def reading(kinglet):
    """Whether the reading succeeded last; None when the machine has no UPS."""
    for sample in kinglet.samples():
        if (sample.name, sample.labels.get("reading")) == (
                "kinglet_hardware_reading_success", "ups"):
            return sample.value
    return None


def shows(kinglet, name, value, unit="rack"):
    eventually(
        lambda: ups(kinglet).get((name, unit)) == value,
        lambda: f"{name} of {unit} is {value}; there is {ups(kinglet)}", timeout=READ)


def test_a_ups_that_is_well_then_on_battery_then_lost(make_server, nut):
    """Its values are shown as they change; of one that its driver lost, only that it is down."""
    nut.units["other"] = "DATA-STALE"
    kinglet = start(make_server, nut.address)
    shows(kinglet, "up", 1)
    values = ups(kinglet)
    assert values["on_battery", "rack"] == 0
    assert values["charge_ratio", "rack"] == 1
    assert values["runtime_seconds", "rack"] == 1830
    assert values["load_ratio", "rack"] == 0.17
    assert values["input_volts", "rack"] == 230.4
    assert values["up", "other"] == 0
    assert ("charge_ratio", "other") not in values
    assert reading(kinglet) == 1

    nut.units["rack"].update(
        {"ups.status": "OB LB", "battery.charge": "12", "input.voltage": "0.0"})
    shows(kinglet, "on_battery", 1)
    values = ups(kinglet)
    assert values["low_battery", "rack"] == 1
    assert values["charge_ratio", "rack"] == 0.12

    nut.units["rack"] = "DRIVER-NOT-CONNECTED"
    shows(kinglet, "up", 0)
    assert ("on_battery", "rack") not in ups(kinglet)
    assert reading(kinglet) == 1
    assert set(nut.questions) == {"LIST UPS", "LIST VAR rack", "LIST VAR other", "LOGOUT"}


def test_a_server_that_stalls_in_a_line_holds_up_no_scrape(make_server, nut):
    """Scrapes go on while it stalls; then the reading has failed, and works again later."""
    nut.stalls = True
    kinglet = start(make_server, nut.address)
    assert nut.stalled.wait(READ)
    slowest = []

    def failed():
        begin = time.monotonic()
        assert kinglet.get("/metrics")[0] == 200
        slowest.append(time.monotonic() - begin)
        return reading(kinglet) == 0

    eventually(failed, "a reading that failed", timeout=READ)
    assert max(slowest) < 4, "half of what the server stalls for"
    assert not ups(kinglet)
    assert "did not answer in time" in kinglet.log.line_with("reading=ups")
    nut.stalls = False
    shows(kinglet, "up", 1)
    assert reading(kinglet) == 1


def test_a_configured_server_that_is_not_there_is_a_failure(make_server, nut):
    nut.close()
    kinglet = start(make_server, nut.address)
    assert "nobody listens there" in kinglet.log.line_with("reading=ups")
    assert reading(kinglet) == 0


def test_nothing_goes_out_when_isolated_or_recorded(make_server, nut):
    """`--isolated` asks nobody, even if told to; an empty address asks nobody."""
    tree = str(FIXTURES / "hardware/pc")
    for address, isolated in ((nut.address, True), ('""', False)):
        kinglet = make_server(
            settings={**LOOPBACK, "hardware.ups": address, "hardware.root": tree})
        kinglet.start(isolated=isolated)
        # The reading after it, in the same round.
        eventually(
            lambda: "kinglet_machine_failed_units 2" in kinglet.get("/metrics")[2],
            "a round of readings")
        assert reading(kinglet) is None
    assert nut.questions == []


@pytest.mark.parametrize("setting", [
    "hardware.ups=a:b", "hardware.ups=fd00::5", "hardware.units=[ssh]", "hardware.units=[--all.x]",
    'hardware.units=["*.service"]'])
def test_what_is_no_address_or_unit_is_refused(make_server, setting):
    kinglet = make_server()
    done = run("config", "--check", "--config", kinglet.configuration, "--set", setting)
    assert done.returncode == 1
    assert setting.split("=")[0] in done.stderr


@pytest.mark.skipif(not DummyUPS.is_installed(), reason="nut-server is not installed")
def test_the_real_server_with_a_dummy_ups(make_server):
    """Debian's upsd says what we read; when its driver dies, the UPS is down."""
    upsd = DummyUPS(tempfile.mkdtemp(prefix="nut"), {
        "ups.status": "OB LB", "battery.charge": "42", "battery.runtime": "300",
        "ups.load": "17.5", "input.voltage": "0.0", "battery.voltage": "24.3",
        "ups.temperature": "31.2"})
    try:
        kinglet = start(make_server, upsd.address)
        shows(kinglet, "on_battery", 1)
        values = ups(kinglet)
        assert values == {
            ("up", "rack"): 1, ("on_battery", "rack"): 1, ("low_battery", "rack"): 1,
            ("replace_battery", "rack"): 0, ("overloaded", "rack"): 0,
            ("charge_ratio", "rack"): 0.42, ("runtime_seconds", "rack"): 300,
            ("load_ratio", "rack"): 0.175, ("input_volts", "rack"): 0,
            ("battery_volts", "rack"): 24.3, ("temperature_celsius", "rack"): 31.2,
            ("info", "rack"): 1}
        upsd.stop_driver()
        shows(kinglet, "up", 0)
        assert reading(kinglet) == 1
    finally:
        upsd.close()
