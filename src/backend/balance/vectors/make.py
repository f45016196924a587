#!/usr/bin/env python3
"""Asks haproxy which server it chooses, and writes the answers down as test vectors.

    python3 make.py > vectors.txt        (haproxy 2.6.12 on PATH; loopback ports 26000-26199)

One line a vector: kind, arguments, servers as `weight` or `weight#id`, then the choices as
numbers of servers from 1, in the order of the requests. `source` requests come from the
addresses printed after `keys`.
"""
import http.client, random, socket, subprocess, sys, tempfile, time

WEIGHTS = [
    [1, 1, 1], [1, 1], [1], [1, 2, 3], [3, 2, 1], [12, 26, 26], [1, 3], [3, 1], [5, 1, 1],
    [1, 1, 5], [1, 10, 100], [100, 10, 1], [7, 7, 3, 2], [2, 2, 2, 2, 1], [256, 1], [1, 256],
    [50, 50, 50], [16, 4, 8, 15, 23, 42], [1, 0, 2], [10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
    [13, 11, 200, 3, 77],
]
HASHED = [[1, 1, 1], [1, 2, 3], [12, 26, 26], [1, 10, 100], [7, 7, 3, 2], [50, 50, 50], [5, 0, 1]]
FUNCTIONS = ["sdbm", "djb2", "wt6", "crc32"]
LISTED_IDS = [[(1, 1005), (1, 1006), (1, 1007)], [(2, 9), (3, 4), (1, 77), (1, 1)]]

cases = []  # (kind, balance lines, [(weight, id)], picks, keys or None)
for w in WEIGHTS:
    servers = [(x, None) for x in w]
    n = min(700, 2 * sum(w) + 5)
    for kind in ("roundrobin", "static-rr"):
        cases.append((kind, [f"balance {kind}"], servers, n, None))
    cases.append(("leastconn", ["balance leastconn"], servers, 20, None))
rng = random.Random(7)
KEYS = ["127.0.0.1"] + [".".join(str(rng.randrange(256)) for _ in range(4)) for _ in range(30)]
KEYS += ["10.0.0.%d" % i for i in range(1, 21)]
KEYS6 = ["2001:db8::%x" % i for i in range(1, 9)] + ["::1", "fe80::1:2:3:4"]
for w in [[(x, None) for x in w] for w in HASHED] + LISTED_IDS:
    for method in ("map-based", "consistent"):
        for f in FUNCTIONS:
            for avalanche in ("", " avalanche"):
                lines = ["balance source", f"hash-type {method} {f}{avalanche}"]
                cases.append((f"source {method} {f}{avalanche or ' plain'}", lines, w, None, KEYS + KEYS6))


def config(batch):
    out = ["global", " maxconn 2000", "defaults", " mode http", " timeout connect 1s", " timeout client 30s",
           " timeout server 30s", "frontend origin", " bind 127.0.0.1:26000", " http-request return status 200"]
    for i, (_, lines, servers, _, _) in enumerate(batch):
        out += [f"listen p{i}", f" bind 127.0.0.1:{26001 + i}", " http-request set-src hdr(x-src) if { hdr(x-src) -m found }",
                " http-response set-header x-s %s"]
        out += [" " + line for line in lines]
        for j, (weight, ident) in enumerate(servers, 1):
            out.append(f" server {j} 127.0.0.1:26000 weight {weight}" + (f" id {ident}" if ident else ""))
    return "\n".join(out) + "\n"


def ask(port, n, keys):
    picks = []
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for i in range(n if keys is None else len(keys)):
        connection.request("GET", "/", headers={} if keys is None else {"x-src": keys[i]})
        answer = connection.getresponse()
        answer.read()
        picks.append(answer.getheader("x-s"))
    return picks


print("# haproxy 2.6.12, made by make.py")
print("keys", " ".join(KEYS + KEYS6))
for start in range(0, len(cases), 60):
    batch = cases[start:start + 60]
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as f:
        f.write(config(batch))
        f.flush()
        process = subprocess.Popen(["haproxy", "-db", "-f", f.name], stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", 26000)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            for i, (kind, _, servers, n, keys) in enumerate(batch):
                listed = ",".join(f"{w}#{ident}" if ident else str(w) for w, ident in servers)
                print(kind, listed, " ".join(ask(26001 + i, n, keys)))
        finally:
            process.terminate()
            process.wait()
