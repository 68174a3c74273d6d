"""What the server's database says of pushes, read beside the server that writes it."""

import contextlib
import sqlite3

from waiting import LONG, eventually

BOOKS = ("sent", "collapsed", "suppressed", "dead", "dropped", "passed")


class PushState:
    """Rows of the tables about pushes, as dictionaries."""

    def __init__(self, kinglet):
        self.file = kinglet.data / "kinglet.db"

    def rows(self, statement, *values):
        with contextlib.closing(sqlite3.connect(
                f"file:{self.file}?mode=ro", uri=True, timeout=LONG)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(statement, values)]

    # Targets

    def of_account(self, account):
        return self.rows("SELECT * FROM push_targets WHERE account = ? ORDER BY id", account)

    def devices(self, app):
        """What the app server knows of an app's devices."""
        return self.rows(
            "SELECT * FROM push_targets WHERE account IS NULL AND app = ? ORDER BY id", app)

    def waiting(self, target=None):
        """What is still to be sent, to a target or at all."""
        statement = "SELECT * FROM push_queue WHERE due IS NOT NULL"
        if target is None:
            return self.rows(statement)
        return self.rows(f"{statement} AND target = ?", target)

    def parcels(self):
        """What is still to be sent of what programs tell."""
        return self.rows("SELECT * FROM push_parcels")

    def dead(self, target=None):
        statement = "SELECT * FROM push_dead"
        if target is None:
            return self.rows(statement)
        return self.rows(f"{statement} WHERE target = ?", target)

    # Books

    def books(self):
        """By provider; what waits among it."""
        books = {row.pop("provider"): row for row in self.rows("SELECT * FROM push_books")}
        for row in books.values():
            row["waiting"] = 0
        for row in self.waiting():
            # One that came since has no book here yet.
            if row["provider"] in books:
                books[row["provider"]]["waiting"] += 1
        for row in self.parcels():
            if row["provider"] in books:
                books[row["provider"]]["waiting"] += row["count"]
        return books

    def balance(self):
        """The books, of which everything that was asked for has become one thing."""
        books = self.books()
        for provider, row in books.items():
            became = row["waiting"] + sum(row[name] for name in BOOKS)
            assert row["requested"] == became, f"{provider}: {row}"
            assert all(number >= 0 for number in row.values()), f"{provider}: {row}"
        return books

    def settle(self, timeout=LONG):
        """The books, once nothing waits."""
        eventually(
            lambda: not self.waiting() and not self.parcels(),
            lambda: f"nothing waits; there are {self.waiting()}, {self.parcels()}", timeout)
        return self.balance()
