#!/usr/bin/env python3
"""http_peer: a server that answers well, late, short, too long or not at all; the far side of http_http_test.

    http_peer.py FOLDER          prints "PORT TLSPORT" when it listens, also on FOLDER/socket; ends when its standard input does

FOLDER/cert.pem and FOLDER/key.pem are what it shows over TLS.
"""
import json
import os
import socketserver
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen = {}  # calls by path
connections = 0
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        global connections
        with lock:
            connections += 1
        super().setup()

    def address_string(self):
        return "peer"

    def log_message(self, *args):
        pass

    def answer(self, status, text, headers=()):
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/plain")
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def any(self):
        with lock:
            n = seen[self.path] = seen.get(self.path, 0) + 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        what, _, rest = self.path[1:].partition("/")
        if what == "echo":
            self.answer(200, json.dumps({"method": self.command, "headers": dict(self.headers), "body": body.decode()}))
        elif what == "connections":
            self.answer(200, str(connections))
        elif what == "calls":
            self.answer(200, str(seen.get("/" + rest, 0)))
        elif what == "slow":
            time.sleep(1.5)
            self.answer(200, "late")
        elif what == "big":
            self.answer(200, b"x" * 1000000)
        elif what == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.close_connection = True
        elif what == "drop":
            self.close_connection = True
        elif what == "busy":  # /busy/STATUS/TIMES/...
            status, times = rest.split("/")[:2]
            self.answer(int(status) if n <= int(times) else 200, "call %d" % n)
        elif what == "later":  # /later/...: once 429 with Retry-After
            self.answer(429 if n == 1 else 200, "call %d" % n, [("Retry-After", "1")])
        elif what == "elsewhere":
            self.answer(302, "", [("Location", "/ok")])
        elif what == "forever":  # a body without an end
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            except OSError:
                self.close_connection = True
        else:
            self.answer(200 if what == "ok" else 404, what)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = any


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # callers that give up are what the tests are about


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    folder = sys.argv[1]
    plain = Server(("127.0.0.1", 0), Handler)
    secure = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    local = UnixServer(os.path.join(folder, "socket"), Handler)
    for server in (plain, secure, local):
        serve(server)
    print(plain.server_port, secure.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
