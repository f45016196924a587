#!/usr/bin/env python3
"""Asks haproxy's converters for hashes: python3 make.py > vectors.txt

haproxy 2.6.12 on PATH; loopback port 26000. Keys arrive in base64 and are turned to bytes there.
"""
import base64, http.client, random, socket, subprocess, tempfile, time

rng = random.Random(11)
KEYS = [b"a", b"/u0", b"/u1", b"h0", b"www.example.org", b"127.0.0.1", b"\x7f\x00\x00\x01", b"\xff\xfe\x80"]
KEYS += [bytes(rng.randrange(1, 256) for _ in range(n)) for n in range(1, 41)]
FUNCTIONS = ["sdbm", "djb2", "wt6", "crc32"]
parts = [f"%[hdr(k),b64dec,{f}({a})]" for f in FUNCTIONS for a in (0, 1)]
CONFIG = f"""defaults
 mode http
 timeout client 5s
frontend f
 bind 127.0.0.1:26000
 http-request return status 200 content-type text/plain lf-string "{' '.join(parts)}"
"""
with tempfile.NamedTemporaryFile("w", suffix=".cfg") as f:
    f.write(CONFIG)
    f.flush()
    process = subprocess.Popen(["haproxy", "-db", "-f", f.name], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", 26000)).close()
                break
            except OSError:
                time.sleep(0.05)
        print("# haproxy 2.6.12, made by make.py: key in hex; sdbm djb2 wt6 crc32, plain and avalanche each")
        connection = http.client.HTTPConnection("127.0.0.1", 26000)
        for key in KEYS:
            connection.request("GET", "/", headers={"k": base64.b64encode(key).decode()})
            print(key.hex(), connection.getresponse().read().decode().strip())
    finally:
        process.terminate()
        process.wait()
