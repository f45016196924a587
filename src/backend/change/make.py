#!/usr/bin/env python3
"""Takes servers of haproxy through checks and the admin socket, and writes down what it says.

    python3 make.py > transcript.txt     (haproxy 2.6.12 on PATH; loopback ports 26101-26103, 26500)

Lines: `> command`, `! pass|fail NAME` (the servers checked at this port answer or refuse from now on; each
step is followed by several checks), `= answer` of a command, `LEVEL text` of the log, and
`: proxy/server status weight downs` where that changed. Check durations are written as 0.
"""
import re, socket, subprocess, sys, tempfile, threading, time

PORTS = {"a": 26101, "c": 26102, "e": 26103}
CONFIG = """
global
 log 127.0.0.1:26500 local0
 stats socket {sock} level admin
defaults
 mode tcp
 log global
 timeout connect 1s
 timeout client 30s
 timeout server 30s
 default-server inter 150
backend b
 server s1 127.0.0.1:26101 check weight 10
 server t1 127.0.0.1:26101 track s1
 server t2 127.0.0.1:26101 track t1
 server x1 127.0.0.1:26101 weight 3
 server d1 127.0.0.1:26101 disabled
backend k
 server s1 127.0.0.1:26102 check backup
 server t1 127.0.0.1:26102 track b/s1
backend l
 option log-health-checks
 server s1 127.0.0.1:26103 check rise 3 fall 2
 server b1 127.0.0.1:26101 backup
backend one
 balance static-rr
 server s1 127.0.0.1:26101 weight 5
"""
STEPS = """
> set server b/s1 state maint
> set server b/s1 state maint
> set server b/s1 state drain
> set server b/s1 state ready
> set server b/s1 state drain
> set server b/s1 state drain
> set server b/s1 state maint
> set server b/s1 state ready
> set server b/t1 state maint
> set server b/s1 state maint
> set server b/t1 state ready
> set server b/t1 state maint
> set server b/s1 state ready
> set server b/t1 state ready
> set server b/t1 state drain
> set server b/s1 state drain
> set server b/t1 state ready
> set server b/t1 state drain
> set server b/s1 state ready
> set server b/t1 state ready
> set server b/s1 state drain
> set server b/t1 state drain
> set server b/s1 state maint
> set server b/s1 state ready
> set server b/t1 state ready
> set server b/d1 state ready
> disable server b/d1
> enable server b/d1
> disable server b/x1
> disable server b/d1
! fail a
> set server b/s1 state drain
> set server b/s1 state maint
> set server b/s1 state ready
> set server b/t1 state drain
> set server b/t1 state ready
> set server b/t1 state maint
> set server b/t1 state ready
> set server b/s1 state drain
! pass a
! fail a
> set server b/s1 state ready
! pass a
> enable server b/x1
! fail c
> set server k/t1 state maint
! pass c
> set server k/s1 state drain
! fail c
> set server k/s1 state ready
> set server k/t1 state ready
! pass c
! fail e
> set server l/b1 state maint
! pass e
> set server l/s1 state maint
> set server l/b1 state ready
> set server l/s1 state ready
> set server one/s1 weight 3
> set server one/s1 weight 0
> set server one/s1 weight 5
> set server one/s1 weight 50%
> set server one/s1 weight 100%
> set server one/s1 state drain
> set server one/s1 state ready
> set server b/x1 weight 5x
> set server b/x1 weight -5%
> set server b/x1 weight 10%x
> set server b/x1 weight 9999%
> set server b/x1 weight 90000%
> set server b/x1 weight 0%
> set server b/x1 weight 100%
> set server b/x1 weight 50%
> set server b/x1 weight %
> set server b/x1 weight x
> set server b/x1 weight -1
> set server b/x1 weight -0
> set server b/x1 weight 256
> set server b/x1 weight 257
> set server b/x1 weight 1.5
> set server b/x1 weight +3
""".strip().splitlines()
LEVELS = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]


class Port:
    """Accepts and holds, or refuses."""

    def __init__(self, number):
        self.number = number
        self.open()

    def open(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.number))
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def ask(sock, command):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sock)
    connection.sendall(command.encode() + b"\n")
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer.decode().strip()


def heard(log, seconds):
    end = time.time() + seconds
    while time.time() < end:
        try:
            line = log.recv(4096).decode().rstrip()
        except TimeoutError:
            continue
        level = LEVELS[int(line[1:line.index(">")]) % 8]
        text = re.sub(r"check duration: \d+ms", "check duration: 0ms", line.split("]: ", 1)[1])
        print(level, text)


shown = {}


def states(sock):
    rows = [line.split(",") for line in ask(sock, "show stat").splitlines() if line]
    for row in (dict(zip(rows[0], row)) for row in rows[1:]):
        name = f"{row['# pxname']}/{row['svname']}"
        down = row["chkdown"] if row["chkdown"] else "-"
        state = f"{row['status'].replace(' ', '_')} {row['weight']} {down}"
        if shown.get(name) != state:
            print(":", name, state)
        shown[name] = state


ports = {name: Port(number) for name, number in PORTS.items()}
log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
log.bind(("127.0.0.1", 26500))
log.settimeout(0.05)
print("# haproxy 2.6.12, made by make.py")
with tempfile.TemporaryDirectory() as folder:
    sock = folder + "/sock"
    with open(folder + "/cfg", "w") as f:
        f.write(CONFIG.format(sock=sock))
    process = subprocess.Popen(["haproxy", "-db", "-f", folder + "/cfg"], stderr=subprocess.DEVNULL)
    try:
        heard(log, 0.9)
        states(sock)
        for step in STEPS:
            print(step)
            if step.startswith("> "):
                if answer := ask(sock, step[2:]):
                    print("=", answer)
            else:
                _, what, name = step.split()
                ports[name].open() if what == "pass" else ports[name].close()
            heard(log, 0.85)
            states(sock)
    finally:
        process.terminate()
        process.wait()
