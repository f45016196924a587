"""Works a balancer through its admin socket with the clients that others wrote for haproxy.

usage: operators.py SOCKET-DIRECTORY SOCKET

Prints what haproxyadmin (0.2.4) and haproxy-cli (0.7.2) made of the answers, a line each. Neither is changed; they
parse the CSV of 'show stat', 'show info' and the messages.
"""
import json
import sys

from haproxy import cmds
from haproxy.conn import HaPConn
from haproxyadmin import haproxy
from haproxyadmin.frontend import FRONTEND_METRICS
from haproxyadmin.backend import BACKEND_METRICS
from haproxyadmin.server import SERVER_METRICS

DIRECTORY, SOCKET = sys.argv[1], sys.argv[2]
# What differs from run to run, from limit to limit of open files, or by version.
OWN = {"lastchg", "downtime", "slim", "pid", "lastsess", "qtime", "ctime", "rtime", "ttime", "check_duration",
       "rate", "rate_max", "req_rate", "req_rate_max"}


def tell(what, value):
    print(f"{what}: {json.dumps(value, sort_keys=True, default=str)}")


def of(thing, metrics):
    """The metrics of one frontend, backend or server."""
    return {name: thing.metric(name) for name in metrics if name not in OWN}


def attempt(what, act):
    """Its result, or the kind of exception."""
    try:
        tell(what, act())
    except Exception as error:  # what a client makes of a refusal is compared as well
        tell(what, type(error).__name__)


def with_haproxyadmin():
    hap = haproxy.HAProxy(socket_dir=DIRECTORY)
    tell("name and processes", [hap.metric("Process_num"), len(hap.processids)])
    tell("figures", sorted(name for name in haproxy.HAPROXY_METRICS if name in hap.info()[0]))
    for front in hap.frontends():
        tell(f"frontend {front.name}", [front.iid, front.status, front.requests, of(front, FRONTEND_METRICS)])
    for back in hap.backends():
        tell(f"backend {back.name}", [back.iid, back.status, back.requests, of(back, BACKEND_METRICS)])
        for server in back.servers():
            tell(
                f"server {back.name}/{server.name}",
                [server.sid, server.status, server.weight, server.check_status, server.check_code,
                 server.last_status, server.address, of(server, SERVER_METRICS)],
            )
    server = hap.server("one", backend="app")[0]
    for state in ("maint", "drain", "ready", "disable", "enable"):
        attempt(f"set {state}", lambda: [server.setstate(haproxy_state(state)), server.status])
    for weight in (7, "50%", 300):
        attempt(f"weight {weight}", lambda: [server.setweight(weight), server.weight])
    front = hap.frontend("web")
    attempt("maxconn of a frontend", lambda: [front.setmaxconn(77), front.maxconn])
    attempt("disable a frontend", lambda: [front.disable(), front.status])
    attempt("enable a frontend", lambda: [front.enable(), front.status])
    attempt("maxconn", lambda: [hap.setmaxconn(99), hap.maxconn])
    attempt("rate of connections", lambda: [hap.setratelimitconn(5), hap.ratelimitconn])
    attempt("rate of sessions", lambda: [hap.setratelimitsess(6), hap.ratelimitsess])
    attempt("no backend", lambda: hap.backend("nobody"))
    attempt("a command", lambda: hap.command("get weight app/two"))
    attempt("add to an acl", lambda: hap.add_acl("#0", "/more"))
    attempt("show an acl", lambda: [entry.split(" ", 1)[1] for entry in hap.show_acl("0")])
    attempt("get of an acl", lambda: hap.get_acl("0", "/more"))
    attempt("del of an acl", lambda: hap.del_acl("0", "/more"))
    attempt("show maps", lambda: hap.show_map())
    attempt("errors", lambda: len(hap.errors()))
    attempt("clear", lambda: hap.clearcounters())
    attempt("address", lambda: server.address)


def haproxy_state(state):
    from haproxyadmin import STATE_DISABLE, STATE_DRAIN, STATE_ENABLE, STATE_MAINT, STATE_READY

    return {
        "maint": STATE_MAINT,
        "drain": STATE_DRAIN,
        "ready": STATE_READY,
        "disable": STATE_DISABLE,
        "enable": STATE_ENABLE,
    }[state]


def with_haproxy_cli():
    def run(command, **words):
        connection = HaPConn(SOCKET)
        answer = connection.sendCmd(getattr(cmds, command)(**words), objectify=True)
        connection.close()
        return answer

    attempt("cli frontends", lambda: run("showFrontends"))
    attempt("cli backends", lambda: run("showBackends"))
    attempt("cli servers", lambda: run("listServers", backend="app"))
    attempt("cli disable", lambda: run("disableServer", backend="app", server="two"))
    attempt("cli enable", lambda: run("enableServer", backend="app", server="two"))
    attempt("cli weight", lambda: run("setWeight", backend="app", server="two", weight="3"))
    attempt("cli get weight", lambda: run("getWeight", backend="app", server="two"))
    attempt("cli state", lambda: run("setServerState", backend="app", server="two", value="drain"))
    attempt("cli health", lambda: run("setServerHealth", backend="app", server="two", value="down"))
    attempt("cli agent", lambda: run("setServerAgent", backend="app", server="two", value="up"))
    attempt("cli certificates", lambda: run("showSslCerts"))
    attempt("cli lists", lambda: run("showSslCrtLists"))
    attempt("cli wrong", lambda: run("getWeight", backend="app", server="nobody"))
    attempt("cli info", lambda: sorted(run("showInfo", output="json"))[:3])


with_haproxyadmin()
with_haproxy_cli()
