"""Python's http.client against PORT, before a server that tells the length of each body it gets."""
import http.client
import sys

conn = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
for n in range(20):
    conn.request("GET", f"/file?{n}")
    answer = conn.getresponse()
    body = answer.read()
    assert answer.status == 200 and len(body) == 10, (answer.status, body)
used = conn.sock
conn.request("HEAD", "/file")
answer = conn.getresponse()
assert answer.status == 200 and answer.getheader("Content-Length") == "10" and answer.read() == b""
conn.request("POST", "/upload", body=b"x" * 100_000)
assert conn.getresponse().read() == b"got 100000"
conn.request("POST", "/upload", body=(b"y" * 1000 for _ in range(50)), encode_chunked=True,
             headers={"Transfer-Encoding": "chunked"})
assert conn.getresponse().read() == b"got 50000"
assert conn.sock is used, "one connection served all of it"
conn.request("GET", "/file", headers={"Connection": "close"})
answer = conn.getresponse()
assert answer.read() and answer.will_close
print("well")
