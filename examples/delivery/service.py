"""Three small partners of a shop in one program: a warehouse, a courier and a messenger.

They show what a service must do so that a saga can rely on it. Python's standard library is all it needs:

    python3 service.py                        # http://127.0.0.1:9100, books and key in data/ beside this file
    python3 service.py --fault book=wait      # the courier's dispatcher decides by hand

Three habits make it reliable, and each is a few lines below:

1. What was answered to a key is kept with the effect, in one transaction, before the answer is sent. The same key again
   gets the same answer and has no second effect (`Books.once`).
2. A question carries the key of what it asks about, and is answered from the same table (`Books.known`).
3. An undo that comes before its do is remembered, and stops the do when it comes (`free_slot`, `reserve_slot`).
"""

import argparse
import hmac
import json
import os
import secrets
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BODY_BYTES_MAX = 64 * 1024
IDLE_SECONDS_MAX = 120

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, operation TEXT NOT NULL, asked TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS slots (number INTEGER PRIMARY KEY, order_no TEXT NOT NULL, day TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS given_up (order_no TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS bookings (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, order_no TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, recipient TEXT NOT NULL, text TEXT NOT NULL);
"""


class Refused(Exception):
    """A business no: nothing happened, and asking again would not help. Its text is the reason, one stable word."""


class Books:
    """Everything the three partners know, in one SQLite file."""

    def __init__(self, path, slots_a_day, wait_seconds):
        self.slots_a_day = slots_a_day
        self.wait_seconds = wait_seconds
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        # An answer that was sent must not be forgotten by a power cut.
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(SCHEMA)

    def once(self, key, operation, asked, carry_out):
        """Carries out what `key` stands for, once. The answer is on disk before it is returned."""
        fingerprint = json.dumps(asked, sort_keys=True)
        with self.lock, self.transaction():
            row = self.db.execute("SELECT operation, asked, status, body FROM answers WHERE key = ?", [key]).fetchone()
            if row and (row[0], row[1]) != (operation, fingerprint):
                return 422, {"type": "key-reused"}
            if row:
                return row[2], json.loads(row[3])
            try:
                status, body = carry_out(self, key, asked)
            except Refused as why:
                status, body = 409, {"refused": str(why)}
            row = [key, operation, fingerprint, status, json.dumps(body)]
            self.db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
            return status, body

    def known(self, key):
        """What is known of the request that had `key`."""
        with self.lock:
            row = self.db.execute("SELECT status, body FROM answers WHERE key = ?", [key]).fetchone()
        if row is None:
            return 404, {"type": "not-found"}
        status, body = row[0], json.loads(row[1])
        return (200, body) if status == 409 else (status, body)

    def decide(self, order, yes):
        """The dispatcher says whether a courier takes the booking of `order` that waits. Returns whether one waited."""
        with self.lock, self.transaction():
            waiting = "SELECT number, key FROM bookings WHERE order_no = ? AND state = 'waiting'"
            row = self.db.execute(waiting, [order]).fetchone()
            if row is None:
                return False
            number, key = row
            state, status, body = ("booked", 200, booked(number)) if yes else ("declined", 409, {"refused": "no-courier"})
            self.db.execute("UPDATE bookings SET state = ? WHERE number = ?", [state, number])
            self.db.execute("UPDATE answers SET status = ?, body = ? WHERE key = ?", [status, json.dumps(body), key])
            return True

    def show(self):
        """All of it, for people and tests."""
        def rows(query, names):
            return [dict(zip(names, row)) for row in self.db.execute(query)]

        with self.lock:
            return {
                "slots": rows("SELECT number, order_no, day FROM slots ORDER BY number", ["slot", "order", "day"]),
                "given_up": [row[0] for row in self.db.execute("SELECT order_no FROM given_up ORDER BY order_no")],
                "bookings": rows(
                    "SELECT number, order_no, address, state FROM bookings ORDER BY number",
                    ["booking", "order", "address", "state"],
                ),
                "messages": rows("SELECT recipient, text FROM messages ORDER BY number", ["to", "text"]),
            }

    def transaction(self):
        return Transaction(self.db)


class Transaction:
    """All of it, or nothing."""

    def __init__(self, db):
        self.db = db

    def __enter__(self):
        self.db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, *_rest):
        self.db.execute("COMMIT" if kind is None else "ROLLBACK")


# The warehouse.


def reserve_slot(books, _key, asked):
    """Keeps a place for a parcel on `day`."""
    if books.db.execute("SELECT 1 FROM given_up WHERE order_no = ?", [asked["order"]]).fetchone():
        raise Refused("given-up")
    taken = books.db.execute("SELECT count(*) FROM slots WHERE day = ?", [asked["day"]]).fetchone()[0]
    if taken >= books.slots_a_day:
        raise Refused("day-full")
    number = books.db.execute("INSERT INTO slots (order_no, day) VALUES (?, ?)", [asked["order"], asked["day"]]).lastrowid
    return 200, {"slot": f"s-{number}"}


def free_slot(books, _key, asked):
    """Gives the place back. One that comes before the reservation is remembered and stops it."""
    books.db.execute("INSERT OR IGNORE INTO given_up VALUES (?)", [asked["order"]])
    books.db.execute("DELETE FROM slots WHERE order_no = ?", [asked["order"]])
    return 200, {}


# The courier.


def book(books, key, asked):
    """Books a courier."""
    row = [key, asked["order"], asked["address"]]
    number = books.db.execute("INSERT INTO bookings (key, order_no, address, state) VALUES (?, ?, ?, 'booked')", row).lastrowid
    return 200, booked(number)


def book_by_hand(books, key, asked):
    """Books a courier as soon as the dispatcher says yes."""
    row = [key, asked["order"], asked["address"]]
    books.db.execute("INSERT INTO bookings (key, order_no, address, state) VALUES (?, ?, ?, 'waiting')", row)
    return 202, {"waiting": True, "seconds": books.wait_seconds}


def booked(number):
    return {"booking": f"b-{number}"}


# The messenger.


def send(books, _key, asked):
    """Sends a message to a member: here it is written down."""
    books.db.execute("INSERT INTO messages (recipient, text) VALUES (?, ?)", [asked["to"], asked["text"]])
    return 200, {}


# What is asked for, the parameters it needs, and what carries it out; a question has nothing to carry out.
OPERATIONS = {
    "reserve-slot": (["order", "day"], reserve_slot),
    "free-slot": (["order"], free_slot),
    "find-slot": ([], None),
    "book": (["order", "address"], book),
    "find": ([], None),
    "send": (["to", "text"], send),
}

FAULTS = {
    "refuse": "says no, for a business reason",
    "wait": "book only: answers 202, and the dispatcher decides (POST /admin/decide)",
    "busy": "answers 429: nothing happens",
    "fail": "answers 503, and nothing happens; nobody can know that",
    "drop": "hears nothing: the connection ends without an answer",
    "lose": "does it, and the connection ends without an answer",
    "die": "does it, and the whole program ends without an answer",
}


class Partners(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A caller that hangs up is nothing to tell of."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS_MAX
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/admin/books":
            self.with_body(lambda _asked: self.answer(200, self.server.books.show()))
        else:
            self.with_body(lambda _asked: self.answer(404, {"type": "no-such-page"}))

    def do_PUT(self):
        self.with_body(self.set_faults)

    def do_POST(self):
        self.with_body(self.decide if self.path == "/admin/decide" else self.operation)

    def with_body(self, go_on):
        """Reads the body, checks who asks, and goes on with the parameters."""
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, {"type": "body-too-large"})
        text = self.rfile.read(int(length))
        given = self.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.server.key}".encode()):
            return self.answer(401, {"type": "unknown-key"})
        try:
            asked = json.loads(text or b"{}")
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return self.answer(400, {"type": "not-json"})
        return go_on(asked)

    def operation(self, asked):
        name = self.path.removeprefix("/")
        needs, carry_out = OPERATIONS.get(name, (None, None))
        key = self.headers.get("idempotency-key")
        if needs is None:
            return self.answer(400, {"type": "no-such-operation"})
        if not key or any(not isinstance(asked.get(field), str) or not asked[field] for field in needs):
            return self.answer(400, {"type": "invalid-request"})
        fault = self.server.faults.get(name)
        if fault == "drop":
            self.close_connection = True
            return None
        if fault in ("busy", "fail"):
            return self.answer(429 if fault == "busy" else 503, {"type": fault})
        if carry_out is None:
            status, body = self.server.books.known(key)
        else:
            chosen = {"refuse": refuse, "wait": book_by_hand}.get(fault, carry_out)
            status, body = self.server.books.once(key, name, asked, chosen)
        if fault == "die":
            os._exit(1)
        if fault == "lose":
            self.close_connection = True
            return None
        return self.answer(status, body)

    def decide(self, asked):
        if not isinstance(asked.get("order"), str) or asked.get("answer") not in ("yes", "no"):
            return self.answer(400, {"type": "invalid-request"})
        waited = self.server.books.decide(asked["order"], asked["answer"] == "yes")
        return self.answer(200 if waited else 404, {"decided": waited})

    def set_faults(self, asked):
        try:
            if self.path != "/admin/faults":
                raise ValueError("the faults are at /admin/faults")
            self.server.faults = faults(asked.items())
        except ValueError as why:
            return self.answer(400, {"type": "invalid-request", "detail": str(why)})
        return self.answer(200, self.server.faults)

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, form, *args):
        if self.server.verbose:
            super().log_message(form, *args)


def refuse(_books, _key, _asked):
    raise Refused("not-possible")


def faults(pairs):
    """Checks which operation fails how."""
    checked = {}
    for operation, fault in pairs:
        if operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is none of {', '.join(OPERATIONS)}")
        if fault not in FAULTS or (fault == "wait" and operation != "book"):
            raise ValueError(f"{operation} cannot fail by {fault!r}")
        if fault == "refuse" and OPERATIONS[operation][1] is None:
            raise ValueError(f"{operation} is a question, and refuses nothing")
        checked[operation] = fault
    return checked


def key_of(data):
    """The key that callers must name; made at the first start."""
    path = data / "service.key"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    except FileExistsError:
        pass
    return path.read_text().strip()


def main():
    words = "\n".join(f"  {name:<7} {meaning}" for name, meaning in FAULTS.items())
    parser = argparse.ArgumentParser(
        description="A warehouse, a courier and a messenger, for examples/sagas/delivery.toml.",
        epilog=f"Faults:\n{words}\nThey are set anew while it runs with PUT /admin/faults, such as {{\"book\": \"lose\"}}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--listen", default="127.0.0.1:9100", metavar="HOST:PORT", help="default %(default)s")
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data", help="folder of the books and the key")
    parser.add_argument("--slots-a-day", type=int, default=20, metavar="N", help="places in the warehouse; default %(default)s")
    parser.add_argument("--wait-seconds", type=int, default=60, metavar="N", help="when to ask again; default %(default)s")
    parser.add_argument("--fault", action="append", default=[], metavar="OPERATION=FAULT", help="what goes wrong")
    parser.add_argument("--verbose", action="store_true", help="print each request")
    args = parser.parse_args()
    try:
        wrong = faults(pair.split("=", 1) if "=" in pair else (pair, "") for pair in args.fault)
        host, port = args.listen.rsplit(":", 1)
        address = (host, int(port))
    except ValueError as why:
        parser.error(str(why))
    args.data.mkdir(parents=True, exist_ok=True)
    server = Partners(address, Handler)
    server.key, server.faults, server.verbose = key_of(args.data), wrong, args.verbose
    server.books = Books(args.data / "books.sqlite", args.slots_a_day, args.wait_seconds)
    print(f"the partners are at http://{host}:{server.server_port}, their key is in {args.data / 'service.key'}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
