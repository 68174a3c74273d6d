"""Where a value begins to be worth a warning, and which alerts say so.

Numbers and colours are those of the rules in alerts/ (a test compares); what no alert watches has
no limit. Something that is either 0 or 1, and any count that ought to be 0, has its limit at 1.
"""

from dataclasses import dataclass

INFO, WARNING, CRITICAL, FINE = "blue", "orange", "red", "green"


@dataclass(frozen=True)
class Limits:
    """Colours by value, the lowest first, and the alerts that go by the same numbers."""

    steps: list
    alerts: tuple = ()


def above(alerts, *, info=None, warning=None, critical=None):
    """Too much is bad."""
    return limits(alerts, FINE, (info, INFO), (warning, WARNING), (critical, CRITICAL))


def below(alerts, *, warning=None, critical=None):
    """Too little is bad."""
    return limits(
        alerts, WARNING if critical is None else CRITICAL,
        (critical, FINE if warning is None else WARNING), (warning, FINE))


def limits(alerts, lowest, *steps):
    """The color of the lowest values, then colors from some value on."""
    return Limits(
        [{"color": lowest, "value": None}]
        + [{"color": color, "value": value} for value, color in steps if value is not None],
        tuple(alerts.split()))


NO_LIMITS = limits("", FINE)
# For what is so or not so, and fine either way.
STATE = limits("", "text", (1, INFO))
# How many alerts fire.
ALERTS = above("", warning=1)

# The server
SERVER_ANSWERS = below("KingletDown", critical=1)
RESTARTS = above("KingletRestartsOften", critical=2)
SESSIONS_LEFT = below("KingletSessionsDropped", warning=0.5)
FAILED_LOGINS = above("KingletLoginFailures", warning=0.2)
DELIVERY_TIME = above("KingletDeliverySlow", warning=2)
OFFLINE_GROWTH = above("KingletOfflineMessagesGrow", warning=10000)
REFUSALS = above("KingletRefusals", warning=1)
FULL = above("KingletFull", warning=1)
SCRAPE_REFUSALS = above("KingletScrapeRefusals", warning=20)
LOOP_LAG = above("KingletEventLoopLag", warning=0.1)
LOOPS_STUCK = above("KingletEventLoopStuck", critical=1)
OWN_MEMORY = above("KingletMemoryHigh", warning=0.8)
DESCRIPTORS = above("KingletDescriptorsHigh", warning=0.8)
COMMIT_TIME = above("KingletCommitSlow", warning=0.25)
COMMIT_FAILURES = above("KingletCommitFailures", warning=1)
COMMIT_QUEUE = above("KingletCommitQueue", warning=1000)
STORAGE_WRITABLE = below("KingletStorageNotWritable", critical=1)
CERTIFICATE = below(
    "KingletCertificateExpiresSoon KingletCertificateExpires",
    warning=14 * 86400, critical=3 * 86400)
READING_WORKS = below("KingletHardwareReadingFails", warning=1)
READINGS_FAIL = above("KingletHardwareReadingFails", warning=1)
READING_TIME = above("KingletHardwareReadingSlow", warning=1)

# Other servers and components
PUSH_DOMAINS = above("KingletPushDomainUnreachable", warning=1)
SERVER_FAILURES = above("KingletServerStreamsFail", warning=0.8)
SERVER_REFUSED = above("KingletServerCertificatesRefused", warning=2)
SERVER_QUEUE_AGE = above("KingletServerQueueOld", warning=6 * 3600)
SERVER_QUEUE_FULL = above("KingletServerQueueFull", warning=1)
COMPONENTS_GONE = above("KingletComponentGone", warning=1)

# Pushes
PUSH_FAILURES = above("KingletPushFails", warning=0.5)
PUSH_CIRCUITS = above("KingletPushCircuitOpen", warning=1)
PUSH_QUEUE_AGE = above("KingletPushQueueOld", warning=3600)
PUSH_INVALID = above("KingletPushTokensInvalid", warning=5)
PUSH_GIVEN_UP = above("KingletPushGivenUp", warning=10)
PUSH_ACCESS = below("KingletPushCredentialExpired", warning=0)
PUSH_CREDENTIALS = below("KingletPushCredentialExpires", warning=14 * 86400)
PUSH_REFUSALS = above("KingletPushPublishersRefused", warning=20)
PUSH_PROGRAMS = above("KingletPushProgramsRefused", warning=50)

# The board
UNDERVOLTAGE = above("RaspberryPiUndervoltage", warning=1)
UNDERVOLTAGE_EVENTS = above(
    "RaspberryPiUndervoltage RaspberryPiUndervoltageOften", warning=1, critical=3)
SUPPLY = below("RaspberryPiSupplyLow RaspberryPiSupplyVeryLow", warning=4.8, critical=4.7)
FIRMWARE_ACTS = above("RaspberryPiUndervoltage RaspberryPiThrottled", warning=1)
THROTTLED = above("RaspberryPiThrottled", warning=1)
HEAT = above("RaspberryPiHot RaspberryPiVeryHot", warning=80, critical=84)
FAN_DUTY = above("RaspberryPiFanFailed", warning=0.9)
CLOCK_BATTERY = below("RaspberryPiRtcBatteryLow", warning=2.5)
USB_OVER_CURRENT = above("MachineUsbOverCurrent", warning=1)

# The machine
REBOOTS = above("MachineRebooted MachineRebootsOften", info=1, warning=3)
LOAD = above("MachineLoadHigh", warning=2)
MEMORY_AVAILABLE = below("MachineMemoryLow", warning=0.1)
MEMORY_STALLS = above("MachineMemoryPressure", warning=0.2)
OUT_OF_MEMORY = above("MachineOutOfMemory", critical=1)
SWAPPING = above("MachineSwapping", warning=500)
ZRAM = above("MachineZramFull", warning=0.9)
NETWORK_ERRORS = above("MachineNetworkErrors", warning=0.1)
LINK_CHANGES = above("MachineCarrierFlaps", warning=6)
WIRELESS_SIGNAL = below("MachineWirelessWeak", warning=-75)
CLOCK_SYNCHRONISED = below("MachineClockNotSynchronised", warning=1)
CLOCK_OFFSET = above("MachineClockOffset", warning=0.05)
CLOCK_JUMPS = above("MachineClockJumped", warning=1)
WATCHDOG_RESET = above("MachineWatchdogReset", warning=1)
UPS_ON_BATTERY = above("MachineUpsOnBattery", warning=1)
UPS_STATES = above(
    "MachineUpsDown MachineUpsOnBattery MachineUpsLowBattery MachineUpsReplaceBattery "
    "MachineUpsOverloaded", critical=1)
SUPPLY_DISCHARGING = above("MachineSupplyDischarging", warning=1)
BATTERY_CHARGE = below("MachineSupplyLow", critical=0.2)
KERNEL_EVENTS = above(
    "MachineHungTask MachineOutOfMemory MachineUsbOverCurrent MachineStorageErrors "
    "MachineFilesystemErrors", critical=1)
FAILED_UNITS = above("MachineUnitsFailed", info=1)
UNIT_FAILED = above("MachineUnitFailed", warning=1)
UNIT_RESTARTS = above("MachineUnitRestarting", warning=3)

# Storage
SPACE = below(
    "MachineFilesystemSpaceLow MachineFilesystemSpaceVeryLow", warning=0.1, critical=0.05)
SPACE_IN_A_DAY = below("MachineFilesystemFilling", warning=0)
INODES = below("MachineInodesLow MachineInodesVeryLow", warning=0.1, critical=0.05)
READ_ONLY = above("MachineFilesystemReadOnly", critical=1)
EXT4_ERRORS = above("MachineFilesystemNeedsCheck", warning=1)
STORAGE_EVENTS = above(
    "MachineStorageErrors MachineStorageErrorsOften", warning=1, critical=10)
FILESYSTEM_EVENTS = above("MachineFilesystemErrors", critical=1)
DISK_ERRORS = above("MachineDiskErrors", warning=10)
DISK_LATENCY = above("MachineDiskSlow", warning=0.1)
WRITTEN_PER_DAY = above("MachineCardWritesHigh", warning=20e9)
EMMC_LIFE = above("MachineEmmcWorn", warning=0.8)
EMMC_RESERVE = above("MachineEmmcReserveLow", critical=1)
WEAR = limits("MachineEmmcWorn MachineSmartWorn", FINE, (0.8, WARNING), (0.9, WARNING))
SMART_HEALTH = below("MachineSmartFailing", critical=1)
SMART_WEAR = above("MachineSmartWorn", warning=0.9)
SMART_SPARE = below("MachineSmartSpareLow", critical=0.1)
SMART_HEAT = above("MachineSmartHot", warning=70)
SMART_PENDING = above("MachineSmartPendingSectors", warning=1)
SMART_NEW_ERRORS = above("MachineSmartReallocatedSectors MachineSmartMediaErrors", warning=1)
SMART_AGE = above("MachineSmartReportOld", warning=86400)

# Backup
BACKUP_AGE = above("KingletBackupOld KingletBackupVeryOld", warning=1.5, critical=3)
BACKUP_RESULT = above("KingletBackupFailed", warning=1)
BACKUP_PROTECTED = below("KingletBackupUnprotected", warning=1)
BACKUP_KEY = below("KingletBackupKeyMissing", critical=1)
BACKUP_LENGTH = above("KingletBackupRunsLong", warning=4)
BACKUP_CHECK_AGE = above("KingletBackupNotVerified", warning=10)
BACKUP_FAULTS = above("KingletBackupVerificationFailed", critical=1)
BACKUP_TEST_AGE = above("KingletBackupRestoreTestOld", warning=35)
BACKUP_TEST_FAULTS = above("KingletBackupRestoreTestFailed", critical=1)
BACKUP_SUSPICIOUS = above("KingletBackupSuspicious", critical=1)
BACKUP_FILES_LEFT = below("KingletBackupSourceShrunk", warning=0.8)
BACKUP_MOVED = below("KingletBackupNothingNew", warning=1)
BACKUP_TARGET = below("KingletBackupTargetAbsent", warning=1)
BACKUP_SPACE = below("KingletBackupTargetSpaceLow", warning=0.1)
BACKUP_SPACE_LATER = below("KingletBackupTargetFilling", warning=0)
BACKUP_PRUNE_AGE = above("KingletBackupPruneOld", warning=7)
