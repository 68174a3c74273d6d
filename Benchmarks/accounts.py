"""Many accounts in little time, for whoever wants Kinglet to have many."""

import contextlib
import sqlite3


def multiply(database, domain, original, copies):
    """Copies an account so many times: imported one by one they take minutes."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            """
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ?)
            INSERT INTO accounts (domain, local, created)
            SELECT ?, 'copy' || n, created FROM numbers, accounts WHERE local = ?
            """, (copies, domain, original))
        connection.execute(
            """
            INSERT INTO scram_keys (account, hash, iterations, salt, stored_key, server_key)
            SELECT copy.id, hash, iterations, salt, stored_key, server_key
            FROM accounts copy, accounts original JOIN scram_keys ON account = original.id
            WHERE copy.local LIKE 'copy%' AND original.local = ?
            """, (original,))
