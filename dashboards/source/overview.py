"""Is everything well? One screen of 1,920 by 1,080 points, and from there on to the details."""

from grafana import dashboard, graph, quantile, stat, table, total
from limits import (
    ALERTS, BACKUP_AGE, CERTIFICATE, CLOCK_SYNCHRONISED, COMMIT_TIME, DELIVERY_TIME, HEAT,
    MEMORY_AVAILABLE, PUSH_DOMAINS, READINGS_FAIL, SERVER_ANSWERS, SERVER_QUEUE_AGE, SPACE,
    STORAGE_WRITABLE, THROTTLED, UNDERVOLTAGE, UPS_ON_BATTERY, WEAR,
)

PI, ENGINE, STORAGE = "kinglet-raspberry-pi", "kinglet-engine", "kinglet-storage"
BACKUP, FEDERATION = "kinglet-backup", "kinglet-federation"
FIRING = 'ALERTS{alertstate="firing", severity=~"warning|critical"}'
NO_PI = "Only a Raspberry Pi tells"


def tile(*parts, **more):
    return stat(*parts, height=3, **more)


CHAT = [
    tile("Answers", "Whether the last scrape of the metrics endpoint succeeded. No: the program or "
         "its machine is down, or the network between it and Prometheus.", "bool_yes_no", "server",
         {"answers": "up"}, limits=SERVER_ANSWERS, detail=ENGINE),
    tile("Alerts", "Warnings and critical alerts that fire, of the rules that Prometheus has "
         "loaded; below are their names. Normal is none.", "short", "README",
         {"firing": f"count({FIRING}) or 0 * count(up)"}, limits=ALERTS),
    tile("Clients online", "Clients that are logged in, those whose connection broke a moment ago "
         "among them.", "short", "server", {"clients": "sum(kinglet_sessions)"}, detail=ENGINE),
    tile("Messages", "Messages that clients sent, for each second of the last minutes.", "cps",
         "server", {"messages": total('kinglet_stanzas_total{kind="message", direction="in"}')},
         decimals=2, detail=ENGINE),
    tile("Delivery", "From the arrival of a message to its hand-over to the receiver's socket: 95 "
         "% take less. A few milliseconds are normal.", "s", "server",
         {"95 %": quantile(0.95, "kinglet_message_delivery_seconds") + " >= 0"}, detail=ENGINE,
         limits=DELIVERY_TIME, absent="No message"),
    tile("Commits", "Time that one commit takes to reach the disk: 99 % take less. Up to 20 ms are "
         "normal on a card.", "s", "storage",
         {"99 %": quantile(0.99, "kinglet_commit_duration_seconds") + " >= 0"},
         limits=COMMIT_TIME, detail=STORAGE, absent="No commit"),
]

MACHINE = [
    tile("Temperature", "The hottest sensor of the SoC. 40 to 65 degrees are normal; the firmware "
         "throttles from 80 on.", "celsius", "cooling",
         {"hottest": 'max(rpi_temperature_celsius{sensor=~"soc|soc_firmware"})'}, limits=HEAT,
         detail=PI, absent=NO_PI),
    tile("Under-voltage", "Whether the supply fell below 4.63 V in the last five minutes. Yes: "
         "another supply or cable, before the card is damaged.", "bool_yes_no", "power",
         {"lately": "max(max_over_time(rpi_undervoltage_active[5m]))"}, limits=UNDERVOLTAGE,
         detail=PI, absent=NO_PI),
    tile("Throttled", "Whether the firmware has reduced the CPU's speed, for heat or for lack of "
         "power.", "bool_yes_no", "cooling",
         {"now": "clamp_max(rpi_throttled_active + rpi_frequency_capped_active "
          "+ rpi_soft_temperature_limit_active, 1)"}, limits=THROTTLED, detail=PI, absent=NO_PI),
    tile("Memory available", "The part of the memory that programs can still have.", "percentunit",
         "memory", {"available": "kinglet_machine_memory_available_bytes "
                    "/ kinglet_machine_memory_size_bytes"}, limits=MEMORY_AVAILABLE, detail=PI),
    tile("Disk free", "The least space that any file system has left.", "percentunit", "storage",
         {"least": "min(kinglet_machine_filesystem_available_bytes "
          "/ kinglet_machine_filesystem_size_bytes "
          "unless kinglet_machine_filesystem_readonly > 0)"}, limits=SPACE, detail=STORAGE),
    tile("Wear", "The part of its life that the most worn eMMC or SSD has behind it. SD cards do "
         "not tell.", "percentunit", "storage",
         {"most": "max(kinglet_machine_emmc_life_used_ratio or kinglet_machine_smart_used_ratio)"},
         limits=WEAR, detail=STORAGE, absent="The medium does not tell"),
]

SURROUNDINGS = [
    tile("Certificate", "Time until the first certificate expires; no client connects after that.",
         "dtdurations", "certificates",
         {"left": "min(kinglet_certificate_expiry_timestamp_seconds) - time()"},
         limits=CERTIFICATE, detail=ENGINE, decimals=0),
    tile("Clock", "Whether the kernel's clock follows a time server. Without it, certificates and "
         "logins fail sooner or later.", "bool_yes_no", "clock",
         {"synchronised": "kinglet_machine_clock_synchronised"}, limits=CLOCK_SYNCHRONISED,
         detail=PI),
    tile("On battery", "Whether a UPS runs on its battery now.", "bool_yes_no", "ups",
         {"on battery": "max(kinglet_machine_ups_on_battery)"}, limits=UPS_ON_BATTERY, detail=PI,
         absent="No UPS"),
    tile("Failing readings", "Sources of the machine that exist and cannot be read: alerts that "
         "depend on them cannot fire.", "short", "README",
         {"failing": "count(kinglet_hardware_reading_success) "
          "- sum(kinglet_hardware_reading_success)"}, limits=READINGS_FAIL, detail=PI),
    tile("Backup", "The time since the last backup that worked, beside the time between two. Up to "
         "1 is normal.", "none", "backup",
         {"age": "max((time() - kinglet_backup_last_success_timestamp_seconds) "
          "/ kinglet_backup_period_seconds)"}, limits=BACKUP_AGE, detail=BACKUP, decimals=1,
         absent="No backup"),
    tile("Data can be written", "Whether the last commit worked. No: the disk is full, read-only "
         "or broken, and messages are refused, not lost.", "bool_yes_no", "storage",
         {"writable": "kinglet_storage_writable"}, limits=STORAGE_WRITABLE, detail=STORAGE),
]

WIRE = [
    tile("Push domains out of reach", "App servers, through which phones are woken, that the last "
         "attempt did not reach. Normal is 0.", "short", "federation",
         {"out of reach": "kinglet_push_domains_unreachable"}, limits=PUSH_DOMAINS, width=6,
         detail=FEDERATION),
    tile("Other servers", "Streams with other servers that stand, in both directions.", "short",
         "federation", {"open": 'sum(kinglet_server_streams{state="open"})'}, width=6,
         detail=FEDERATION),
    tile("Waits longest", "The age of the oldest stanza that waits for another server. After a day "
         "it goes back to its sender.", "s", "federation",
         {"oldest": "kinglet_server_queue_oldest_seconds"}, limits=SERVER_QUEUE_AGE, width=6,
         detail=FEDERATION, absent="Nothing waits"),
    tile("Components", "Bridges and other programs that speak for a domain of their own and are "
         "attached.", "short", "federation", {"attached": "kinglet_component_connections"},
         width=6, detail=FEDERATION),
]

LATELY = [
    table("Firing alerts", "What fires now. The text of each alert names its page.", "README",
          {"alerts": f"max by (severity, alertname) ({FIRING})"}, height=8,
          absent="None, if Prometheus has loaded the rules of alerts/"),
    graph("Clients and messages", "Clients that are logged in, and messages from and to clients, a "
          "second.", "short", "server", {
              "clients": "sum(kinglet_sessions)",
              "messages in": total('kinglet_stanzas_total{kind="message", direction="in"}'),
              "messages out": total('kinglet_stanzas_total{kind="message", direction="out"}')}),
    graph("Temperatures", "The sensors of the SoC and of the chips beside it.", "celsius",
          "cooling", {"{{sensor}}": "rpi_temperature_celsius"}, limits=HEAT, absent=NO_PI),
]

OVERVIEW = dashboard(
    "kinglet-overview", "Kinglet: overview",
    "Is everything well? Green is. Each tile leads to the dashboard with the details.",
    {"": CHAT + MACHINE + SURROUNDINGS + WIRE + LATELY})
