"""The machine: power, heat, CPU, memory, network, clock, and what watches over it."""

from grafana import dashboard, graph, rate, stat, states, table
from limits import (
    BATTERY_CHARGE, CLOCK_BATTERY, CLOCK_JUMPS, CLOCK_OFFSET, CLOCK_SYNCHRONISED, FAILED_UNITS,
    FAN_DUTY, FIRMWARE_ACTS, HEAT, KERNEL_EVENTS, LINK_CHANGES, LOAD, MEMORY_AVAILABLE,
    MEMORY_STALLS, NETWORK_ERRORS, OUT_OF_MEMORY, READING_TIME, READING_WORKS, REBOOTS, STATE,
    SUPPLY, SUPPLY_DISCHARGING, SWAPPING, UNDERVOLTAGE_EVENTS, UNIT_FAILED, UNIT_RESTARTS,
    UPS_STATES, USB_OVER_CURRENT, WATCHDOG_RESET, WIRELESS_SIGNAL, ZRAM,
)

NO_PI = "Only a Raspberry Pi has this"
NO_PI5 = "Only a Raspberry Pi 5 measures this"
NO_PRESSURE = "The kernel does not count this; psi=1 on its command line makes it"
NO_UPS = "No UPS: hardware.ups names NUT's server"
NO_SUPPLY = "No battery or supply in /sys/class/power_supply"
NO_WATCHDOG = "No watchdog"
NO_WIRELESS = "No Wi-Fi"
NO_UNITS = "systemd does not answer, or hardware.units is empty"

BOARD = [
    stat("Board", "The model and its revision code.", "string", "README",
         {"{{model}} ({{revision}})": "rpi_info"}, names=True, width=6, absent=NO_PI),
    stat("Operating system", "What is installed, with the kernel that runs.", "string",
         "operating-systems", {"{{os}} {{os_version}}, Linux {{kernel}}, {{architecture}}":
                               "kinglet_machine_info"}, names=True, width=6),
    stat("Booted", "When the machine started. A start that nobody asked for is a power cut, a "
         "crash or the watchdog.", "dateTimeFromNow", "power",
         {"booted": "1000 * kinglet_machine_boot_timestamp_seconds"}),
    stat("Starts in a day", "How often the machine started again within 24 hours.", "short",
         "watchdog", {"starts":
                      'resets(kinglet_machine_cpu_seconds_total{mode="system"}[1d])'},
         limits=REBOOTS),
    stat("Reason of the last reset", "The code of the power management chip for why it last "
         "switched off or reset.", "string", "power", {"{{code}}": "rpi_power_reset_info"},
         names=True, absent=NO_PI5),
    stat("Failed units", "Services that systemd gave up. systemctl --failed names all of them.",
         "short", "operating-systems", {"failed": "kinglet_machine_failed_units"},
         limits=FAILED_UNITS, absent=NO_UNITS),
    stat("Firmware", "When the firmware was built: start4.elf, which apt full-upgrade renews; "
         "a Pi 5 has it in the EEPROM, with the boot loader.", "dateTimeFromNow", "bootloader",
         {"built": "1000 * rpi_firmware_build_timestamp_seconds"}, absent=NO_PI),
    stat("Boot loader", "When the boot loader in the EEPROM was built. rpi-eeprom-update says "
         "whether there is a newer one.", "dateTimeFromNow", "bootloader",
         {"built": "1000 * rpi_bootloader_build_timestamp_seconds"}, absent=NO_PI),
    stat("Versions of the firmware", "The commits that the firmware and the boot loader were built "
         "from.", "string", "bootloader", {
             "firmware {{version}}": "rpi_firmware_info",
             "boot loader {{version}}": "rpi_bootloader_info"}, names=True, width=12,
         absent=NO_PI),
]

POWER = [
    states("Power and throttling", "What the firmware does now. All four are No on a machine that "
           "has enough power and is cool; see Temperature for what else may be the reason.",
           "bool_yes_no", "power", {
               "under-voltage": "rpi_undervoltage_active",
               "throttled": "rpi_throttled_active",
               "frequency capped": "rpi_frequency_capped_active",
               "soft temperature limit": "rpi_soft_temperature_limit_active"},
           limits=FIRMWARE_ACTS, absent=NO_PI),
    graph("Events", "How often each began within an hour. One dip is a warning; more than three "
          "within an hour call for another supply or cable.", "short", "power", {
              "under-voltage": "increase(rpi_undervoltage_events_total[1h])",
              "throttled": "increase(rpi_throttled_events_total[1h])",
              "frequency capped": "increase(rpi_frequency_capped_events_total[1h])",
              "soft temperature limit": "increase(rpi_soft_temperature_limit_events_total[1h])"},
          limits=UNDERVOLTAGE_EVENTS, absent=NO_PI),
    stat("Since boot", "Conditions that the firmware remembers from this boot. The kernel's driver "
         "clears this memory on some boards; the events count on.", "bool_yes_no", "power",
         {"{{kind}}": "rpi_throttled_history"}, limits=STATE, width=8, height=8, absent=NO_PI),
    graph("Voltages", "Rails that the firmware can measure. The core's follows its frequency; the "
          "others do not change.", "volt", "power",
          {"{{rail}}": 'rpi_voltage_volts{rail!="ext5v"}'},
          absent=NO_PI),
    graph("Supply", "The 5 V input. 4.9 V is normal for a good supply, for the board measures "
          "after its own losses.", "volt", "power",
          {"5 V input": 'rpi_voltage_volts{rail="ext5v"}'},
          limits=SUPPLY, absent=NO_PI5),
    graph("Power", "Sum of all rails, without what USB devices draw. A Pi 5 at rest needs about "
          "3 W.", "watt", "power", {"all rails": "rpi_power_watts"}, absent=NO_PI5),
    graph("Currents", "What flows through each rail.", "amp", "power",
          {"{{rail}}": "rpi_current_amperes"}, absent=NO_PI5),
    stat("Supply's current", "What the supply promised to give. Below 5 A a Pi 5 limits its USB "
         "ports.", "amp", "power", {"promised": "rpi_supply_max_current_amperes"}, absent=NO_PI5),
    stat("USB at full current", "Whether the USB ports may draw 1.6 A together, not 600 mA.",
         "bool_yes_no", "power", {"allowed": "rpi_usb_max_current_enabled"}, limits=STATE,
         absent=NO_PI5),
    stat("USB over-current", "Whether a USB device drew too much when the boot loader ran.",
         "bool_yes_no", "power", {"detected": "rpi_usb_over_current_detected"},
         limits=USB_OVER_CURRENT, absent=NO_PI5),
]

HEAT_AND_CLOCKS = [
    graph("Temperature", "soc is the kernel's view and soc_firmware the firmware's, by which it "
          "throttles from 80 degrees on; 40 to 65 are normal. A heat sink or a fan helps.",
          "celsius", "cooling", {
              "{{sensor}}": "rpi_temperature_celsius",
              "limit of the firmware": "rpi_temperature_max_celsius"},
          limits=HEAT, absent=NO_PI),
    graph("Trip points", "Temperatures at which the kernel does something: run the fan faster "
          "(active), slow down (passive), stop (critical).", "celsius", "cooling",
          {"{{trip}} {{type}}": "rpi_temperature_trip_celsius"}, absent=NO_PI),
    graph("Cooling devices", "How far each is turned up: 100 % is as much as it can. The kernel's "
          "own throttling of the CPU is one of them.", "percentunit", "cooling",
          {"{{type}} {{device}}": "rpi_cooling_state / (rpi_cooling_max_state > 0)"}, bounds=(0, 1),
          absent="No fan and no other cooling device that the kernel turns up"),
    graph("Fan speed", "Turns a minute. Some firmware tells 0 while the fan turns: listen to it "
          "before you replace it.", "rotrpm", "cooling", {"fan": "rpi_fan_speed_rpm"},
          absent="No fan that tells its speed"),
    graph("Fan duty", "How much of its power the fan gets. 30 % from 50 degrees on are the Pi 5's "
          "defaults.", "percentunit", "cooling", {"fan": "rpi_fan_duty_ratio"}, bounds=(0, 1),
          limits=FAN_DUTY, absent="No fan that the kernel controls"),
    graph("CPU frequency", "The frequency of each CPU, and the range that the governor may choose "
          "from. Below its highest under load: see Power and throttling.", "hertz", "cooling", {
              "cpu {{cpu}}": "rpi_cpu_frequency_hertz",
              "highest": "max(rpi_cpu_frequency_max_hertz)",
              "lowest": "min(rpi_cpu_frequency_min_hertz)"}, absent=NO_PI),
    graph("Clocks", "What the firmware runs its clocks at. It lowers arm and core when it "
          "throttles.", "hertz", "cooling", {"{{clock}}": "rpi_clock_frequency_hertz"},
          absent=NO_PI),
    table("Governor", "Who chooses the frequency of each CPU. ondemand is the default.", "cooling",
          {"governor": "rpi_cpu_governor_info"}, height=8, absent=NO_PI),
]

CPU = [
    graph("CPU", "How the time of all CPUs is spent, without idle. Much iowait is a slow card; "
          "steal is a virtual machine's host.", "percentunit", "kernel", {
              "{{mode}}": rate('kinglet_machine_cpu_seconds_total{mode!="idle"}')
              + " / on (job, instance) group_left kinglet_machine_cpus"},
          stacked=True, bounds=(0, 1)),
    graph("Load per CPU", "Programs that run or wait, for each CPU. Above 1 for long, and "
          "something has to wait.", "short", "kernel", {
              "{{window}}": "kinglet_machine_load_average / on (job, instance) group_left "
              "kinglet_machine_cpus"}, limits=LOAD),
    graph("Pressure", "The share of time in which something waited for CPU, memory or input and "
          "output.", "percentunit", "memory",
          {"{{resource}}": rate("kinglet_machine_pressure_waiting_seconds_total")},
          absent=NO_PRESSURE),
    graph("Stalls", "The share of time in which nothing went on at all for lack of memory or for "
          "input and output.", "percentunit", "memory",
          {"{{resource}}": rate("kinglet_machine_pressure_stalled_seconds_total")},
          limits=MEMORY_STALLS, absent=NO_PRESSURE),
    graph("Blocked processes", "Processes that wait for a disk. More than a few for long, and the "
          "medium is too slow.", "short", "storage",
          {"blocked": "kinglet_machine_processes_blocked"}),
    graph("Open files", "Files that all programs have open, as a part of what the kernel allows.",
          "percentunit", "kernel",
          {"in use": "kinglet_machine_open_files / kinglet_machine_max_open_files"}),
]

MEMORY = [
    graph("Memory", "What there is, what programs can still have (available), and what the kernel "
          "uses in between. Little free memory is normal; little available is not.",
          "bytes", "memory", {
              "size": "kinglet_machine_memory_size_bytes",
              "available": "kinglet_machine_memory_available_bytes",
              "free": "kinglet_machine_memory_free_bytes",
              "cached": "kinglet_machine_memory_cached_bytes",
              "dirty": "kinglet_machine_memory_dirty_bytes"}),
    graph("Memory available", "The part of the memory that programs can still have. When it is "
          "used up, the kernel ends programs.", "percentunit", "memory",
          {"available": "kinglet_machine_memory_available_bytes "
           "/ kinglet_machine_memory_size_bytes"}, limits=MEMORY_AVAILABLE, bounds=(0, 1)),
    graph("Swap used", "The part of the swap that is full. Some is normal where zram is the swap.",
          "percentunit", "memory", {
              "used": "1 - kinglet_machine_swap_free_bytes "
              "/ (kinglet_machine_swap_size_bytes > 0)"},
          bounds=(0, 1), absent="No swap"),
    graph("Swap traffic and faults", "Pages that went out to the swap and came in from it, and "
          "pages that had to come from a disk. Much of it for long: too little memory.",
          "cps", "memory", {
              "in": rate("kinglet_machine_swap_in_pages_total"),
              "out": rate("kinglet_machine_swap_out_pages_total"),
              "major faults": rate("kinglet_machine_major_page_faults_total")},
          limits=SWAPPING, width=6),
    graph("Compressed swap", "What zram holds (original), what that takes compressed and in all "
          "(used), and how much it may hold.", "bytes", "memory", {
              "{{device}} size": "kinglet_machine_zram_size_bytes",
              "{{device}} original": "kinglet_machine_zram_original_bytes",
              "{{device}} compressed": "kinglet_machine_zram_compressed_bytes",
              "{{device}} used": "kinglet_machine_zram_used_bytes"}, width=6,
          absent="No zram"),
    graph("Compressed swap in use", "What zram holds, as a part of what it may hold. When it is "
          "full, the kernel ends programs.", "percentunit", "memory",
          {"{{device}}": "kinglet_machine_zram_original_bytes / kinglet_machine_zram_size_bytes"},
          limits=ZRAM, bounds=(0, 1), width=6, absent="No zram"),
    graph("Ended for lack of memory", "Programs that the kernel ended, in half an hour. Always 0 "
          "on a machine that is well.", "short", "memory",
          {"ended": "increase(kinglet_machine_oom_kills_total[30m])"}, limits=OUT_OF_MEMORY,
          width=6),
]

NETWORK = [
    graph("Traffic", "Bytes a second, received above and sent below.", "Bps", "network", {
        "{{interface}} received": rate("kinglet_machine_network_received_bytes_total"),
        "{{interface}} sent": "-" + rate("kinglet_machine_network_transmitted_bytes_total")}),
    graph("Errors", "Packets that were damaged or dropped, a second. A few drops are normal; "
          "errors are a bad cable, port or signal.", "cps", "network", {
              f"{{{{interface}}}} {name}": rate(f"kinglet_machine_network_{metric}_total")
              for name, metric in {
                  "damaged in": "receive_errors", "damaged out": "transmit_errors",
                  "dropped in": "receive_dropped", "dropped out": "transmit_dropped"}.items()},
          limits=NETWORK_ERRORS),
    states("Links", "Whether each interface has a link.", "bool_yes_no", "network",
           {"{{interface}}": "kinglet_machine_network_up"}, limits=STATE),
    graph("Link changes", "How often each link came or went within an hour. More than one is a "
          "loose plug, a switch that saves energy, or weak Wi-Fi.", "short", "network",
          {"{{interface}}": "increase(kinglet_machine_network_carrier_changes_total[1h])"},
          limits=LINK_CHANGES),
    stat("Link speed", "What was negotiated. 100 Mbit/s on a board that can do 1,000 is a cable "
         "with four wires.", "bps", "network",
         {"{{interface}}": "8 * kinglet_machine_network_speed_bytes_per_second"}, height=8,
         absent="No link tells its speed"),
    graph("Wi-Fi signal", "Strength at the antenna. Above -67 dBm is good, below -75 is weak.",
          "dBm", "network", {"{{interface}}": "kinglet_machine_wireless_signal_dbm"},
          width=6, limits=WIRELESS_SIGNAL, absent=NO_WIRELESS),
    graph("Wi-Fi quality", "The driver's own judgement.", "percentunit", "network",
          {"{{interface}}": "kinglet_machine_wireless_quality_ratio"}, width=6, bounds=(0, 1),
          absent=NO_WIRELESS),
]

CLOCK = [
    states("Clock synchronised", "Whether the kernel's clock follows a time server. Without it, "
           "certificates and logins fail sooner or later.", "bool_yes_no", "clock",
           {"synchronised": "kinglet_machine_clock_synchronised"}, limits=CLOCK_SYNCHRONISED),
    graph("Clock offset", "How far the clock is off, and how far it may be at most. Milliseconds "
          "are normal.", "s", "clock", {
              "offset": "kinglet_machine_clock_offset_seconds",
              "at most": "kinglet_machine_clock_max_error_seconds"}, limits=CLOCK_OFFSET),
    graph("Jumps of the clock", "How often the clock was set by more than it may drift, in 15 "
          "minutes. One after the start is normal where there is no clock with a battery.",
          "short", "clock", {"jumps": "increase(kinglet_machine_clock_jumps_total[15m])"},
          limits=CLOCK_JUMPS),
    table("Clocks with a battery", "What keeps the time while the machine is off.", "clock",
          {"clock": "kinglet_machine_rtc_info"}, absent="No clock with a battery"),
    graph("Battery of the clock", "The Pi 5's cell, and the voltages that it is charged with (0 is "
          "off) and may be. 0 V: there is no cell.", "volt", "clock", {
              "battery": "rpi_rtc_battery_volts",
              "charging": "rpi_rtc_charging_volts",
              "at most": "rpi_rtc_charging_max_volts"}, width=16, height=5,
          limits=CLOCK_BATTERY, absent=NO_PI5),
]

WATCHDOG = [
    stat("Watchdog active", "Whether somebody has to reset it, or else the machine restarts. "
         "systemd does so with RuntimeWatchdogSec=.", "bool_yes_no", "watchdog",
         {"{{device}}": "kinglet_machine_watchdog_active"}, limits=STATE,
         absent=NO_WATCHDOG),
    stat("Restarted by the watchdog", "Whether this boot follows a reset by the watchdog: the "
         "machine was stuck.", "bool_yes_no", "watchdog",
         {"{{device}}": "kinglet_machine_watchdog_caused_reset"}, limits=WATCHDOG_RESET,
         absent=NO_WATCHDOG),
    stat("Cannot be stopped", "Whether the watchdog goes on when its user ends (nowayout).",
         "bool_yes_no", "watchdog", {"{{device}}": "kinglet_machine_watchdog_nowayout"},
         limits=STATE, absent=NO_WATCHDOG),
    graph("Watchdog", "After how long it restarts the machine, and how long that still is.", "s",
          "watchdog", {
              "{{device}} timeout": "kinglet_machine_watchdog_timeout_seconds",
              "{{device}} left": "kinglet_machine_watchdog_timeleft_seconds"}, width=6, height=5,
          absent=NO_WATCHDOG),
    table("Watchdogs", "What there is.", "watchdog", {"watchdog": "kinglet_machine_watchdog_info"},
          width=6, absent=NO_WATCHDOG),
]

UPS = [
    table("UPS", "What NUT knows.", "ups", {"ups": "kinglet_machine_ups_info"}, absent=NO_UPS),
    states("State of the UPS", "Whether NUT has fresh values (answers), and what is wrong. Low on "
           "battery: the machine is about to be shut down.", "bool_yes_no", "ups", {
               "{{ups}} does not answer": "1 - kinglet_machine_ups_up",
               "{{ups}} on battery": "kinglet_machine_ups_on_battery",
               "{{ups}} battery low": "kinglet_machine_ups_low_battery",
               "{{ups}} battery old": "kinglet_machine_ups_replace_battery",
               "{{ups}} overloaded": "kinglet_machine_ups_overloaded"},
           limits=UPS_STATES, width=16, height=5, absent=NO_UPS),
    graph("Charge and load of the UPS", "How full the battery is, and how much of what it can give "
          "is drawn.", "percentunit", "ups", {
              "{{ups}} charge": "kinglet_machine_ups_charge_ratio",
              "{{ups}} load": "kinglet_machine_ups_load_ratio"}, bounds=(0, 1), width=6,
          absent=NO_UPS),
    graph("Time on battery", "How long the battery would last now.", "s", "ups",
          {"{{ups}}": "kinglet_machine_ups_runtime_seconds"}, width=6, absent=NO_UPS),
    graph("Voltages of the UPS", "Of the mains and of the battery.", "volt", "ups", {
        "{{ups}} input": "kinglet_machine_ups_input_volts",
        "{{ups}} battery": "kinglet_machine_ups_battery_volts"}, width=6, absent=NO_UPS),
    graph("Temperature of the UPS", "Batteries age twice as fast 10 degrees above 25.", "celsius",
          "ups", {"{{ups}}": "kinglet_machine_ups_temperature_celsius"}, width=6, absent=NO_UPS),
    states("Power supplies", "Supplies and batteries that the kernel knows, such as those of UPS "
           "boards: whether they are there, and whether they are being emptied.", "bool_yes_no",
           "ups", {
               "{{supply}} there": "kinglet_machine_power_supply_online",
               "{{supply}} being emptied": "kinglet_machine_power_supply_discharging"},
           height=6, limits=SUPPLY_DISCHARGING, absent=NO_SUPPLY),
    graph("Charge of batteries", "Of those that the kernel knows.", "percentunit", "ups",
          {"{{supply}}": "kinglet_machine_power_supply_charge_ratio"}, bounds=(0, 1), height=6,
          limits=BATTERY_CHARGE, absent=NO_SUPPLY),
    graph("Voltage and current of batteries", "Of those that the kernel knows, in volts and "
          "amperes.", "short", "ups", {
              "{{supply}} V": "kinglet_machine_power_supply_voltage_volts",
              "{{supply}} A": "kinglet_machine_power_supply_current_amperes"}, height=6,
          absent=NO_SUPPLY),
]

SYSTEM = [
    graph("Kernel events", "What the kernel's log told in the last hour. Each of them has its "
          "page; none is normal but a single under-voltage at the start.", "short", "README",
          {"{{event}}": "increase(kinglet_machine_kernel_events_total[1h])"},
          limits=KERNEL_EVENTS, absent="The kernel's log cannot be read"),
    states("Units", "The services that hardware.units names, as far as they are installed: "
           "whether they do not run, and whether systemd gave them up. Only the latter is an "
           "alert.", "bool_yes_no", "operating-systems", {
               "{{unit}} inactive": "1 - kinglet_machine_unit_active",
               "{{unit}} failed": "kinglet_machine_unit_failed"}, limits=UNIT_FAILED,
           absent=NO_UNITS),
    graph("Restarts of units", "How often systemd restarted each in the last hour. journalctl -u "
          "tells why.", "short", "operating-systems",
          {"{{unit}}": "increase(kinglet_machine_unit_restarts_total[1h])"},
          limits=UNIT_RESTARTS, absent=NO_UNITS),
    states("Readings", "Whether each source of the machine could be read. What a machine does not "
           "have is not here. The server's log says why one fails.", "bool_yes_no", "README",
           {"{{reading}}": "kinglet_hardware_reading_success"}, limits=READING_WORKS, width=12,
           height=12),
    graph("Duration of readings", "How long each source of the machine takes to read. A slow one "
          "delays nothing else.", "s", "README",
          {"{{reading}}": "kinglet_hardware_reading_duration_seconds"},
          limits=READING_TIME, width=12, height=12),
]

RASPBERRY_PI = dashboard(
    "kinglet-raspberry-pi", "Kinglet: Raspberry Pi",
    "The machine below the chat server. What it does not have stays empty and says so.", {
        "Board": BOARD,
        "Power": POWER,
        "Heat and clocks": HEAT_AND_CLOCKS,
        "CPU": CPU,
        "Memory": MEMORY,
        "Network": NETWORK,
        "Clock": CLOCK,
        "Watchdog": WATCHDOG,
        "UPS and batteries": UPS,
        "Kernel, services and readings": SYSTEM,
    })
