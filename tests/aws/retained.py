"""Retained messages outlive the server. The first run publishes and says `ready`; whoever runs this kills the server then.
Every later run finds what was acknowledged."""

import json
import urllib.parse

from harness import check, equal, main, true
from plain import Plain
from web import Web

LIFE_S = 3600
PAYLOADS = {"mqtt": "one", "replaced": "two", "long": "x" * 100_000, "text": '{"a":1}'}
CLEARED = ("cleared", "cleared-http", "cleared-again")


def path(topic):
    """Where a retained message is read over HTTP."""
    return f"/retainedMessage/{urllib.parse.quote(topic, safe='')}"


def read(web, thing):
    """What HTTP says of every topic, by its last level."""
    return {name: web.done("GET", path(f"app/{thing}/{name}")) for name in (*PAYLOADS, "http")}


def publish(fleet):
    """Publishes, and clears some of it; everything is acknowledged."""
    thing = fleet.thing()
    start = f"app/{thing}"
    web = Web(fleet, thing)
    with Plain(fleet, thing) as link:
        life = {"MessageExpiryInterval": LIFE_S, "ContentType": "text/plain"} if link.mqtt5 else {}
        equal(link.publish(f"{start}/replaced", "one", retain=True), 0)
        for name in CLEARED:
            equal(link.publish(f"{start}/{name}", "gone", retain=True), 0)
        for name, payload in PAYLOADS.items():
            equal(link.publish(f"{start}/{name}", payload, retain=True, **life), 0, name)
        web.done("POST", f"/topics/{start}/http?qos=1&retain=true", b"\x00\x01")
        found = read(web, thing)
        (fleet.work / "retained.json").write_text(json.dumps({"thing": thing, "found": found}))
        web.done("POST", f"/topics/{start}/cleared-http?qos=1&retain=true", b"")
        for name in ("cleared", "cleared-again"):
            equal(link.publish(f"{start}/{name}", "", retain=True), 0)
        print("ready", flush=True)


@check("what was acknowledged is there, and what was cleared is not")
def _(fleet):
    known = fleet.work / "retained.json"
    if not known.exists():
        publish(fleet)
        return
    known = json.loads(known.read_text())
    thing, start = known["thing"], f"app/{known['thing']}"
    web = Web(fleet, thing)
    equal(read(web, thing), known["found"], "as it was, times included")
    for name in CLEARED:
        web.refused(404, "ResourceNotFoundException", "GET", path(f"{start}/{name}"))
    with Plain(fleet, thing) as link:
        for name, payload in (*PAYLOADS.items(), ("http", "\x00\x01")):
            equal(link.subscribe(f"{start}/{name}"), [1])
            message = link.messages.take(name)
            equal((message.topic, message.payload.decode(), message.qos, message.retain), (f"{start}/{name}", payload, 1, True))
            if link.mqtt5 and name != "http":
                left = message.properties.MessageExpiryInterval
                true(LIFE_S - 600 < left < LIFE_S, f"{name} lives for {left} s more, of {LIFE_S}")
                equal(message.properties.ContentType, "text/plain")
        link.subscribe(*(f"{start}/{name}" for name in CLEARED))
        equal(link.publish(f"{start}/cleared", "live"), 0)
        message = link.messages.take("what follows")
        equal((message.payload.decode(), message.retain, len(link.messages.left())), ("live", False, 0))


if __name__ == "__main__":
    main()
