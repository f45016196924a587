"""A WebSocket server that sends back what it gets, and a client that checks it does; RFC 6455, no extensions.

server PORT | client PORT COUNT
"""
import base64
import hashlib
import os
import socket
import struct
import sys
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Whole messages: FIN and opcode.
TEXT, CLOSE = 0x81, 0x88


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def head(file):
    line = file.readline().decode().strip()
    fields = {}
    while True:
        text = file.readline().decode().strip()
        if not text:
            return line, fields
        name, _, value = text.partition(":")
        fields[name.lower()] = value.strip()


def read_frame(file):
    """First byte (FIN and opcode) and content: parts of a message stay parts."""
    start = file.read(2)
    if len(start) < 2:
        return None, b""
    opcode, masked, length = start[0], start[1] & 128, start[1] & 127
    if length == 126:
        (length,) = struct.unpack(">H", file.read(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", file.read(8))
    mask = file.read(4) if masked else b"\0\0\0\0"
    data = file.read(length)
    return opcode, bytes(b ^ mask[i % 4] for i, b in enumerate(data))


def frame(opcode, data, masked):
    out = bytes([opcode])
    bit = 128 if masked else 0
    if len(data) < 126:
        out += bytes([bit | len(data)])
    elif len(data) < 65536:
        out += bytes([bit | 126]) + struct.pack(">H", len(data))
    else:
        out += bytes([bit | 127]) + struct.pack(">Q", len(data))
    if not masked:
        return out + data
    mask = os.urandom(4)
    return out + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


def serve_one(conn):
    file = conn.makefile("rb")
    _, fields = head(file)
    key = fields.get("sec-websocket-key", "")
    conn.sendall(
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_of(key)}\r\n\r\n"
        ).encode()
    )
    while True:
        opcode, data = read_frame(file)
        if opcode is None:
            return
        conn.sendall(frame(opcode, data, False))
        if opcode == CLOSE:
            conn.close()
            return


def serve(port):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve_one, args=(conn,), daemon=True).start()


def client(port, count):
    conn = socket.create_connection(("127.0.0.1", port), timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    conn.sendall(
        (
            "GET /chat HTTP/1.1\r\nHost: ws.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
    )
    file = conn.makefile("rb")
    line, fields = head(file)
    assert line.startswith("HTTP/1.1 101"), line
    assert fields["sec-websocket-accept"] == accept_of(key), fields
    for n in range(count):
        text = f"message {n} ".encode() * (1 + n * n % 3000)
        conn.sendall(frame(TEXT, text, True))
        opcode, data = read_frame(file)
        assert (opcode, data) == (TEXT, text), (n, opcode, len(data))
    conn.sendall(frame(CLOSE, b"", True))
    assert read_frame(file)[0] == CLOSE
    assert file.read() == b"", "the connection ends"
    print(f"{count} echoed")


if sys.argv[1] == "server":
    serve(int(sys.argv[2]))
else:
    client(int(sys.argv[2]), int(sys.argv[3]))
