"""A Banyan that keeps stock in a dictionary and misbehaves when told to. It speaks as much HTTP as the plugin asks for."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

KEY = "a service's key"


class FakeBanyan:
    """Items by SKU as [on_hand, held, allocated]; reservations by name; every request that came."""

    def __init__(self):
        self.items: dict[str, list[int]] = {}
        self.reservations: dict[str, dict] = {}
        self.keys: dict[str, str] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        # What to do with the next requests to reserve: see `_Handler.misbehave`.
        self.faults: list = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"banyan": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        """Ends it: from now on connections are refused."""
        self.server.shutdown()
        self.server.server_close()

    def asked(self, word: str) -> list[tuple[str, str, str | None]]:
        """The requests whose path has `word` in it."""
        return [request for request in self.requests if word in request[1]]

    def reserve(self, key: str, body: dict):
        """Reserves all lines or none, once for each key."""
        if not key or not 1 <= len(body["lines"]) <= 100 or body.get("order", "-") == "":
            return 400, problem("invalid-request")
        if key in self.keys:
            return 200, self.reservations[self.keys[key]]
        short = []
        for index, line in enumerate(body["lines"]):
            on_hand, held, _ = self.items.get(line["sku"], [0, 0, 0])
            if line["quantity"] > on_hand - held:
                short.append({"line": index, "sku": line["sku"], "available": on_hand - held})
        if short:
            return 409, problem("out-of-stock", lines=short)
        for line in body["lines"]:
            self.items[line["sku"]][1] += line["quantity"]
        name = f"r-{len(self.reservations) + 1}"
        self.keys[key] = name
        self.reservations[name] = {"reservation": name, "state": "held", "lines": body["lines"], "order": body.get("order")}
        return 201, self.reservations[name]

    def release(self, name: str):
        """Gives one up."""
        reservation = self.reservations[name]
        if reservation["state"] == "held":
            for line in reservation["lines"]:
                self.items[line["sku"]][1] -= line["quantity"]
            reservation["state"] = "released"
        return 200, reservation

    def show(self, sku: str) -> dict:
        """An item as the API shows it."""
        on_hand, held, allocated = self.items[sku]
        place = {"location": "main", "on_hand": on_hand, "held": held, "allocated": allocated, "short": 0}
        return {"sku": sku, "locations": [place]}


def problem(slug: str, **more) -> dict:
    """A refusal as the API words it."""
    return {"type": f"/errors/{slug}", "detail": f"because of {slug}", **more}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        """Without asking the name service who 127.0.0.1 is, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    banyan: FakeBanyan

    def log_message(self, *args):
        """Not wanted."""

    def do_GET(self):
        """Items."""
        self.banyan.requests.append(("GET", self.path, None))
        path = self.path.split("?")[0]
        if path == "/v1/stock":
            return self.answer(200, {"skus": [self.banyan.show(sku) for sku in self.banyan.items], "next": None})
        sku = path.removeprefix("/v1/stock/")
        if sku not in self.banyan.items:
            return self.answer(404, problem("sku-not-found"))
        return self.answer(200, self.banyan.show(sku))

    def do_POST(self):
        """Reservations."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        banyan = self.banyan
        banyan.requests.append(("POST", self.path, key))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.answer(401, problem("unauthenticated"))
        with banyan.lock:
            if self.path.endswith("/release"):
                return self.answer(*banyan.release(self.path.split("/")[-2]))
            fault = banyan.faults.pop(0) if banyan.faults else None
            if callable(fault):
                fault = fault()
            if fault in (None, "silence after", "hang up after"):
                status, answer = banyan.reserve(key, body)
        if fault is None:
            return self.answer(status, answer)
        return self.misbehave(fault)

    def misbehave(self, fault):
        """(status, slug): that answer. "hang up": the connection is cut; "garbage": no JSON; "silence": nothing comes.
        With " after" it happens after the work was done."""
        if isinstance(fault, tuple):
            return self.answer(fault[0], problem(fault[1]))
        if fault == "garbage":
            return self.send(200, b"<html>")
        if fault == "stranger":  # somebody else listens where Banyan was
            return self.answer(200, {"hello": "world"})
        if fault == "stranger's no":
            return self.answer(404, {"message": "no such page"})
        if fault.startswith("silence"):
            self.connection.settimeout(30)
            self.rfile.read(1)  # until the other side has had enough
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        return None

    def answer(self, status, body):
        """A JSON answer."""
        self.send(status, json.dumps(body).encode())

    def send(self, status, body):
        """An answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
