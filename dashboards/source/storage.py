"""Storage: what is written, how fast the medium answers, how full it is, and how long it lasts."""

from grafana import dashboard, graph, quantiles, rate, stat, states, table, total
from limits import (
    COMMIT_FAILURES, COMMIT_QUEUE, COMMIT_TIME, DISK_ERRORS, DISK_LATENCY, EMMC_LIFE, EMMC_RESERVE,
    EXT4_ERRORS, FILESYSTEM_EVENTS, INODES, OFFLINE_GROWTH, READ_ONLY, SMART_AGE, SMART_HEALTH,
    SMART_HEAT, SMART_NEW_ERRORS, SMART_PENDING, SMART_SPARE, SMART_WEAR,
    SPACE, SPACE_IN_A_DAY, STORAGE_EVENTS, STORAGE_WRITABLE, WEAR, WRITTEN_PER_DAY,
)

DISK = "kinglet_machine_disk_"
FILESYSTEM = "kinglet_machine_filesystem_"
SMART = "kinglet_machine_smart_"
NO_EXT4 = "No ext4 file system that counts its errors"
NO_EMMC = "No eMMC: SD cards do not tell their wear. Go by the bytes written and by the errors"
NO_SMART = "No SMART report: kinglet-smart.timer writes them, for SSDs and disks"
NO_LOG = "The kernel's log cannot be read"
NO_SECTORS = "No SMART report that counts sectors"
NO_DISK = "The kernel tells of no disk"

NOW = [
    stat("Data can be written", "Whether the last commit worked. No: the disk is full, read-only "
         "or broken, and messages are refused, not lost.", "bool_yes_no", "storage",
         {"writable": "kinglet_storage_writable"}, limits=STORAGE_WRITABLE),
    stat("Fullest file system", "The least space that any file system has left.", "percentunit",
         "storage", {"left": f"min({FILESYSTEM}available_bytes / {FILESYSTEM}size_bytes "
                          f"unless {FILESYSTEM}readonly > 0)"},
         limits=SPACE),
    stat("Read-only", "Whether a file system that is to be written is read-only: what the kernel "
         "does when a card dies.", "bool_yes_no", "storage",
         {"{{mountpoint}}":
          FILESYSTEM + 'readonly{mountpoint!~"/(boot|media|snap)(/.*)?"}'}, limits=READ_ONLY),
    stat("Wear", "The part of its life that the most worn medium has behind it, by its own "
         "account.", "percentunit", "storage", {
             "eMMC": "max(kinglet_machine_emmc_life_used_ratio)",
             "SSD": f"max({SMART}used_ratio)"}, limits=WEAR, absent=NO_EMMC),
    stat("Written per day", "What reached the media in the last 24 hours. The limit is that of "
         "cards; an SSD bears more.", "bytes", "storage",
         {"{{device}}": f"increase({DISK}written_bytes_total[1d])"},
         limits=WRITTEN_PER_DAY, absent=NO_DISK),
    stat("Written by Kinglet", "What the program itself had written, per day at the pace of the "
         "last hours.", "bytes", "storage",
         {"per day": "86400 * rate(kinglet_process_disk_written_bytes_total[6h])"}),
]

COMMITS = [
    graph("Commit time", "Time from the start of a transaction to its commit on the disk; messages "
          "wait for it. 1 to 20 ms are normal for a good card, less for an SSD.", "s", "storage",
          quantiles("kinglet_commit_duration_seconds"), limits=COMMIT_TIME,
          absent="Nothing was committed in this time", width=12),
    graph("Jobs per commit", "How many changes share one commit, on average and at the 99 %. More "
          "under load: that is what spares the card.", "short", "storage",
          quantiles("kinglet_commit_batch_size"), absent="Nothing was committed in this time",
          width=6),
    graph("Commits", "Commits a second. Each one costs the card some pages.", "cps", "storage",
          {"commits": total("kinglet_commit_duration_seconds_count")}, width=6),
    graph("Failed jobs", "Jobs that the database refused within 15 minutes: full, read-only, "
          "broken. Always 0 on a machine that is well.", "short", "storage",
          {"refused": "increase(kinglet_commit_failures_total[15m])"}, limits=COMMIT_FAILURES,
          width=6),
    graph("Jobs that wait", "Changes that wait for the writer. More than some hundreds for long: "
          "the medium cannot keep up.", "short", "storage",
          {"waiting": "kinglet_commit_queue_jobs"}, limits=COMMIT_QUEUE, width=6),
]

TRAFFIC = [
    graph("Bytes written", "What goes to each medium. SD cards wear by this; a quiet server writes "
          "some kilobytes a second.", "Bps", "storage",
          {"{{device}}": rate(f"{DISK}written_bytes_total")}, absent=NO_DISK),
    graph("Bytes read", "What comes from each medium. Little, as long as there is memory to keep "
          "it.", "Bps", "storage", {"{{device}}": rate(f"{DISK}read_bytes_total")}, absent=NO_DISK),
    graph("Operations", "Reads and writes a second. A card does some hundreds of small ones.",
          "cps", "storage", {
              "{{device}} reads": rate(f"{DISK}reads_total"),
              "{{device}} writes": rate(f"{DISK}writes_total")}, absent=NO_DISK),
    graph("Latency", "How long a read and a write take. Above 0.1 s: the medium is overloaded or "
          "worn, or a card pauses to tidy up.", "s", "storage", {
              "{{device}} read": f"{rate(f'{DISK}read_seconds_total')} "
              f"/ ({rate(f'{DISK}reads_total')} > 0)",
              "{{device}} write": f"{rate(f'{DISK}write_seconds_total')} "
              f"/ ({rate(f'{DISK}writes_total')} > 0)"}, limits=DISK_LATENCY,
          absent="Nothing was read or written in this time"),
    graph("Utilisation", "The part of the time in which each medium was busy. Near 100 % for long: "
          "everything waits for it.", "percentunit", "storage",
          {"{{device}}": rate(f"{DISK}busy_seconds_total")}, bounds=(0, 1),
          absent=NO_DISK),
    graph("Bytes written by Kinglet", "Of the bytes written, those of the program itself.", "Bps",
          "storage", {"Kinglet": rate("kinglet_process_disk_written_bytes_total")}),
    graph("Written in all", "What each medium has taken since Kinglet watches it, over all boots. "
          "A card's maker promises some terabytes, or nothing.", "bytes", "storage",
          {"{{device}}": f"{DISK}lifetime_written_bytes_total"}, width=12, absent=NO_DISK),
    graph("Written each day", "The last 24 hours, at each time. A step up has a cause: a log, a "
          "swap, a backup. The limit is that of cards; an SSD bears more.", "bytes", "storage",
          {"{{device}}": f"increase({DISK}written_bytes_total[1d])"}, width=12,
          limits=WRITTEN_PER_DAY, absent=NO_DISK),
]

SPACE_AND_DATA = [
    graph("Space left", "The part of each file system that is free for programs. Below a tenth is "
          "the time to tidy up or to lower archive.max_age. No alert for read-only ones.",
          "percentunit", "storage",
          {"{{mountpoint}}": f"{FILESYSTEM}available_bytes / {FILESYSTEM}size_bytes"},
          limits=SPACE, bounds=(0, 1)),
    graph("Space in a day", "The bytes that will be free 24 hours later if it goes on like the "
          "last six hours. 0 or less: full by then.", "bytes", "storage",
          {"{{mountpoint}}": f"predict_linear({FILESYSTEM}available_bytes[6h], 86400)"},
          limits=SPACE_IN_A_DAY),
    graph("Inodes left", "The part of the file system's room for files that is free. File systems "
          "without a limit, such as btrfs, are not here.", "percentunit", "storage",
          {"{{mountpoint}}": f"{FILESYSTEM}inodes_free / ({FILESYSTEM}inodes > 0)"},
          limits=INODES, bounds=(0, 1), absent="No file system with a limit of files"),
    graph("Archives", "Bytes of the messages in all archives. The database on the disk is about "
          "half as large again, for its indexes.", "bytes", "storage",
          {"archives": "kinglet_archive_bytes"}),
    graph("Archived messages", "Entries in all archives; a message between two local users has "
          "two.", "short", "storage", {"messages": "kinglet_archive_messages"}),
    graph("Removed from archives", "Entries removed for their age, for the archives' size, or with "
          "accounts, a second.", "cps", "storage",
          {"removed": total("kinglet_archive_removed_total")}),
    graph("Offline messages", "Messages that wait in the database for their receivers.", "short",
          "storage", {"waiting": "kinglet_offline_messages"}),
    graph("Growth of the offline store", "Messages that wait, more than a day before. Often one "
          "account that nobody uses any more.", "short", "server",
          {"more": "delta(kinglet_offline_messages[1d])"}, limits=OFFLINE_GROWTH),
]

ERRORS = [
    graph("File system errors", "Errors that ext4 has counted since the file system was made or "
          "checked. Anything but 0: save the data, then run fsck.", "short", "storage",
          {"{{device}}": "kinglet_machine_ext4_errors_total"}, limits=EXT4_ERRORS, absent=NO_EXT4),
    stat("Last file system error", "When ext4 met the last of them.", "dateTimeFromNow", "storage",
         {"{{device}}": "1000 * (kinglet_machine_ext4_last_error_timestamp_seconds > 0)"},
         height=8, absent="No ext4 file system has met an error"),
    graph("Storage errors", "Requests to a medium that failed, by the kernel's log, within an "
          "hour. One is a warning.", "short", "storage",
          {"errors": 'increase(kinglet_machine_kernel_events_total{event="storage_error"}[1h])'},
          limits=STORAGE_EVENTS, absent=NO_LOG),
    graph("File system events", "What the kernel's log told within an hour: damage, and file "
          "systems that became read-only.", "short", "storage",
          {"{{event}}": "increase(kinglet_machine_kernel_events_total"
           '{event=~"filesystem_error|remount_readonly"}[1h])'},
          limits=FILESYSTEM_EVENTS, absent=NO_LOG),
    graph("Requests that failed", "Of disks behind SCSI or a USB adapter, in the last hour.",
          "short", "storage", {"{{device}}": f"increase({DISK}errors_total[1h])"},
          limits=DISK_ERRORS, absent="No medium that counts them"),
]

MEDIA = [
    table("Media", "What is built in. Cards of unknown makers are often slower and smaller than "
          "they say.", "storage", {"medium": "kinglet_machine_storage_info"}, width=12,
          absent=NO_DISK),
    stat("Made", "When the card or eMMC was made, by its own account.", "dateTimeAsLocal",
         "storage", {"{{device}}":
                     "1000 * kinglet_machine_storage_manufactured_timestamp_seconds"},
         width=12, height=5, absent="No medium that tells when it was made"),
    graph("eMMC life used", "In steps of a tenth, for each of the two kinds of cells. From 80 % "
          "on, plan its replacement.", "percentunit", "storage",
          {"{{device}} {{type}}": "kinglet_machine_emmc_life_used_ratio"}, limits=EMMC_LIFE,
          bounds=(0, 1), absent=NO_EMMC),
    states("eMMC reserve", "How many spare blocks are used: warning is 80 %, urgent more.",
           "bool_yes_no", "storage", {
               "{{device}} {{state}}":
               'kinglet_machine_emmc_reserve_state{state=~"warning|urgent"}'},
           limits=EMMC_RESERVE, absent=NO_EMMC),
    stat("SMART verdict", "What the drive says of itself. No: replace it now.", "bool_yes_no",
         "storage", {"{{device}}": f"{SMART}healthy"}, limits=SMART_HEALTH, height=8,
         absent=NO_SMART),
    stat("Age of the reports", "How old the last reports are. kinglet-smart.timer writes new ones.",
         "s", "storage", {"{{device}}": f"time() - {SMART}report_timestamp_seconds"},
         limits=SMART_AGE, height=8, absent=NO_SMART),
    graph("SSD life used", "By the drive's own account; it may pass 100 % and go on.",
          "percentunit", "storage", {"{{device}}": f"{SMART}used_ratio"}, limits=SMART_WEAR,
          absent=NO_SMART),
    graph("Spare blocks left", "Of an NVMe drive. It falls at the end of its life.", "percentunit",
          "storage", {"{{device}}": f"{SMART}spare_ratio"}, limits=SMART_SPARE, bounds=(0, 1),
          absent=NO_SMART),
    graph("Temperature of drives", "NVMe drives slow down between 70 and 80 degrees.", "celsius",
          "storage", {"{{device}}": f"{SMART}temperature_celsius"}, limits=SMART_HEAT,
          absent=NO_SMART),
    graph("Pending sectors", "Sectors that cannot be read: what they held is lost.", "short",
          "storage", {"{{device}}": f"{SMART}pending_sectors"}, limits=SMART_PENDING,
          absent=NO_SECTORS),
    graph("Reallocated sectors", "Sectors that spares have replaced. A few are normal; more of "
          "them are the end.", "short", "storage", {"{{device}}": f"{SMART}reallocated_sectors"},
          absent=NO_SECTORS),
    graph("New errors", "Sectors replaced and errors that the drive could not mend, in a day.",
          "short", "storage", {
              "{{device}} sectors": f"delta({SMART}reallocated_sectors[1d])",
              "{{device}} errors": f"increase({SMART}media_errors_total[1d])"},
          limits=SMART_NEW_ERRORS, absent=NO_SMART),
    graph("Media errors", "Errors that the drive could not mend, in all its life.", "short",
          "storage", {"{{device}}": f"{SMART}media_errors_total"}, absent=NO_SMART),
    graph("Unsafe shutdowns", "How often the drive lost its power without a word, in all its life.",
          "short", "power", {"{{device}}": f"{SMART}unsafe_shutdowns_total"}, absent=NO_SMART),
    graph("Written, by the drive", "What the drive says that it has taken in all its life.",
          "bytes", "storage", {"{{device}}": f"{SMART}written_bytes_total"}, width=12,
          absent=NO_SMART),
    graph("Time in use", "How long the drive was on in all its life.", "dtdurations", "storage",
          {"{{device}}": f"{SMART}power_on_seconds_total"}, width=12, absent=NO_SMART),
]

STORAGE = dashboard(
    "kinglet-storage", "Kinglet: storage and SD card",
    "What is written, how fast the medium answers, how full it is, and how long it lasts.", {
        "Now": NOW,
        "Commits": COMMITS,
        "Traffic": TRAFFIC,
        "Space and data": SPACE_AND_DATA,
        "Errors": ERRORS,
        "Media and wear": MEDIA,
    }, start="now-24h")
