"""What an archive of many rows costs: the last page of a conversation, and memory.

Row n belongs to the account u(n mod 100), in its conversation with c(n div 100 mod 100)@localhost:
the rows of a conversation lie far apart, as in an archive that grew over years.
"""

import contextlib
import os
import shutil
import sqlite3
import time
from statistics import median

from client import Client
from processes import BenchError, Skipped, memory
from servers import DOMAIN

OWNERS = 100
CONTACTS = 100
PAGE = 50
# Different conversations, each read twice.
QUERIES = 20
ROWS_AT_ONCE = 500_000
# What a row takes on the disk, with its indices: a guess, on the safe side.
ROW_BYTES = 1024

# The rows to add, for INSERTIONS to begin with: number, local part of the owner and of the contact.
NEW_ROWS = """
    WITH RECURSIVE
        numbers (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :end),
        new_rows (n, owner, contact) AS (
            SELECT n, 'u' || (n % :owners), 'c' || (n / :owners % :contacts) FROM numbers)
    """
# What adds new_rows to all tables that have a part in them, full text included (or marked as done),
# so that the server finds nothing to catch up with when it starts. There are also :domain, and :now
# in microseconds since 1970.
INSERTIONS = (
    NEW_ROWS + """
    INSERT OR IGNORE INTO addresses (jid)
        SELECT DISTINCT owner || '@' || :domain FROM new_rows
        UNION SELECT DISTINCT contact || '@' || :domain FROM new_rows
    """,
    # Every other one was sent by the owner; only the owner's archive has it.
    NEW_ROWS + """
    INSERT INTO messages (id, received, sender, receiver, keepers, stanza)
        SELECT n + 1, :now / 1000 - (20000000 - n) * 1000,
            CASE n / :owners / :contacts % 2 WHEN 0 THEN owners.id ELSE contacts.id END,
            CASE n / :owners / :contacts % 2 WHEN 0 THEN contacts.id ELSE owners.id END,
            CASE n / :owners / :contacts % 2 WHEN 0 THEN 1 ELSE 2 END,
            CAST("<message xmlns='jabber:client' from='" ||
                CASE n / :owners / :contacts % 2 WHEN 0 THEN owners.jid || '/phone'
                    ELSE contacts.jid || '/phone' END ||
                "' to='" || CASE n / :owners / :contacts % 2 WHEN 0 THEN contacts.jid
                    ELSE owners.jid END ||
                "' type='chat' id='" || n || "'><body>message number " || n ||
                ", as long as many people write</body></message>" AS BLOB)
        FROM new_rows
        JOIN addresses AS owners ON owners.jid = owner || '@' || :domain
        JOIN addresses AS contacts ON contacts.jid = contact || '@' || :domain
        ORDER BY n
    """,
    """
    INSERT INTO archive_entries (owner, message, contact)
        SELECT CASE keepers WHEN 1 THEN sender ELSE receiver END, id,
            CASE keepers WHEN 1 THEN receiver ELSE sender END
        FROM messages WHERE id > :first AND id <= :end ORDER BY 1, 2
    """,
    """
    INSERT INTO archive_spans (first, last, earliest, latest)
        SELECT min(id), max(id), min(received), max(received) FROM messages
        WHERE id > :first AND id <= :end GROUP BY (id - 1) / 1024
    """,
    """
    INSERT INTO archive_usage (owner, messages, bytes)
        SELECT CASE keepers WHEN 1 THEN sender ELSE receiver END AS owner, count(*),
            sum(length(stanza))
        FROM messages WHERE id > :first AND id <= :end GROUP BY 1
        ON CONFLICT (owner) DO UPDATE SET
            messages = messages + excluded.messages, bytes = bytes + excluded.bytes
    """,
    "UPDATE message_state SET settled = :end",
    "UPDATE archive_state SET searchable = :end",
)


def archives(empty, full, tools, rows):
    """Yields the figures of an empty archive and of one with so many rows."""
    require(full, rows)
    for server in (empty, full):
        server.seed(OWNERS, tools)
        # The first start makes what tables the import of accounts did not.
        with server.running():
            pass
    fill(full.database, rows)
    for measurement, server, held in (("archive empty", empty, 0), ("archive full", full, rows)):
        forget_cached(server.database)
        with server.running():
            yield measurement, pages(server, tools, held)


def require(server, rows):
    if not server.archives or not INSERTIONS:
        raise Skipped("an archive of many rows: this program has no archive")
    free = shutil.disk_usage(server.directory).free
    if free < rows * ROW_BYTES:
        raise Skipped(f"an archive of {rows:,} rows: {free / 2**30:.0f} GB free are too few")


def fill(database, rows):
    """Writes the rows past the server, which does not run: through it they take hours."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        for first in range(0, rows, ROWS_AT_ONCE):
            insert_rows(connection, first, min(first + ROWS_AT_ONCE, rows))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def insert_rows_at_end(database, rows, count):
    """Further rows in an archive of so many, past the server."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        insert_rows(connection, rows, rows + count)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def insert_rows(connection, first, end):
    values = {
        "first": first, "end": end, "domain": DOMAIN, "owners": OWNERS, "contacts": CONTACTS,
        "now": time.time_ns() // 1000}
    connection.execute("BEGIN IMMEDIATE")
    for statement in INSERTIONS:
        connection.execute(statement, values)
    connection.execute("COMMIT")


def forget_cached(database):
    """The file leaves the kernel's cache: a small machine would not have it there either."""
    file = os.open(database, os.O_RDONLY)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def pages(server, tools, rows):
    """How long the last pages take, from the disk and again, and what the server holds then."""
    first, again = (
        [last_page(server, tools, number, rows) for number in range(QUERIES)] for _ in range(2))
    return {
        "rows": rows, "page_from_disk_ms": median(first), "page_ms": median(again),
        "page_max_ms": max(again), "anonymous_mb": memory(server.pid).anonymous / 1024}


def last_page(server, tools, number, rows):
    """Milliseconds for the last page of a conversation with so many more of them."""
    contact = number * 37 % CONTACTS
    expected = min(PAGE, rows // (OWNERS * CONTACTS))
    with Client.bound(server.port, f"u{number % OWNERS}", tools.password) as client:
        took, messages = client.last_page(f"c{contact}@{DOMAIN}", PAGE)
        client.end()
    if messages != expected:
        raise BenchError(f"a last page has {messages} messages, not {expected}")
    return took
