"""Policies by name, as Eclipse paho meets them: gateways, variables, denials, changes under standing connections."""

import json

from harness import check, equal, main, true, unique
from plain import Plain, Refused

NOT_AUTHORIZED = 0x87


def shadow(thing):
    return f"$aws/things/{thing}/shadow"


def statement(effect, action, *resources):
    """One statement with resources as AWS IoT Core writes them."""
    names = [resource if resource == "*" else f"arn:aws:iot:eu-west-1:123456789012:{resource}" for resource in resources]
    return {"Effect": effect, "Action": action, "Resource": names}


def store(fleet, name, *statements, replace=False):
    """Stores a policy."""
    file = fleet.work / f"{name}.json"
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    fleet.muster("policy", "add", str(file), *(("--replace",) if replace else ()))
    return name


def attach(fleet, policy, thing):
    fleet.muster("policy", "attach", policy, thing, "--any-name")


def detach(fleet, policy, thing):
    fleet.muster("policy", "detach", policy, thing, "--any-name")


def with_policy(fleet, *statements, default=False):
    """A thing with a policy of its own, which is the only one unless the default one is wanted too."""
    thing = fleet.thing()
    attach(fleet, store(fleet, f"policy-{unique()}", *statements), thing)
    if not default:
        detach(fleet, "default", thing)
    return thing


def forbidden(link, topic, payload="{}", **settings):
    """A publish is refused: by its PUBACK with MQTT 5, by the end of the connection with MQTT 3.1.1."""
    if link.mqtt5:
        equal(link.publish(topic, payload, **settings), NOT_AUTHORIZED, topic)
    else:
        link.send(topic, payload, **settings)
        link.lost()


def not_subscribed(link, filter):
    """A subscription is refused: by its code with MQTT 5, by the end of the connection with MQTT 3.1.1."""
    if link.mqtt5:
        equal(link.subscribe(filter), [NOT_AUTHORIZED], filter)
    else:
        link.send_subscribe(filter)
        link.lost()


def refused(fleet, thing, **settings):
    """The reason why a connection is not accepted."""
    try:
        Plain(fleet, thing, **settings).close()
    except Refused as error:
        return error.reason.value
    raise AssertionError(f"{settings} was accepted")


@check("a gateway carries many things with one certificate and any client id")
def _(fleet):
    gateway, things = fleet.thing("gateway"), [f"behind-{unique()}" for _ in range(3)]
    attach(fleet, "gateway", gateway)
    with Plain(fleet, gateway, client_id=things[0]) as link:
        equal(link.subscribe("$aws/things/+/shadow/update/documents"), [1])
        for number, thing in enumerate(things):
            base = shadow(thing)
            equal(link.subscribe(f"{base}/update/accepted", f"{base}/update/rejected", f"{base}/update/delta"), [1, 1, 1])
            state = {"state": {"desired": {"n": number}}}
            equal(link.accepted(f"{base}/update", state)["version"], 1)
            equal(link.message(f"{base}/update/delta")["state"], {"n": number})
            equal(link.message(f"{base}/update/documents")["current"]["state"]["desired"], {"n": number})
            jobs = f"$aws/things/{thing}/jobs"
            link.subscribe(f"{jobs}/get/+")
            equal(link.accepted(f"{jobs}/get", {})["queuedJobs"], [])
    with Plain(fleet, gateway) as link:
        # Its own thing too, and no more than things.
        link.subscribe(f"{shadow(gateway)}/update/+")
        equal(link.accepted(f"{shadow(gateway)}/update", {"state": {"reported": {"a": 1}}})["version"], 1)
        forbidden(link, "muster/op/upgrade")


@check("a gateway may hold 64 connections at a time")
def _(fleet):
    gateway, links = fleet.thing("gateway"), []
    attach(fleet, "gateway", gateway)
    try:
        for _number in range(64):
            links.append(Plain(fleet, gateway))
        equal(refused(fleet, gateway), 0x97 if fleet.mqtt == "5" else 0x88)
    finally:
        for link in links:
            link.close()


@check("a gateway runs a job of a thing behind it")
def _(fleet):
    gateway, thing, job = fleet.thing("gateway"), f"behind-{unique()}", f"job-{unique()}"
    attach(fleet, "gateway", gateway)
    with Plain(fleet, gateway) as link:
        jobs = f"$aws/things/{thing}/jobs"
        link.subscribe(f"{jobs}/notify-next", f"{jobs}/start-next/+", f"{jobs}/+/update/+")
        fleet.create_job(job, thing)
        equal(link.message(f"{jobs}/notify-next")["execution"]["jobId"], job)
        equal(link.accepted(f"{jobs}/start-next", {})["execution"]["jobId"], job)
        link.accepted(f"{jobs}/{job}/update", {"status": "SUCCEEDED"})


@check("variables stand for the thing, the client id and the certificate")
def _(fleet):
    name, client, common = (
        "${iot:Connection.Thing.ThingName}",
        "${iot:ClientId}",
        "${iot:Certificate.Subject.CommonName}",
    )
    thing = with_policy(
        fleet,
        statement("Allow", "iot:Connect", f"client/{name}-*"),
        statement("Allow", "iot:Publish", f"topic/by-thing/{name}", f"topic/by-client/{client}", f"topic/by-name/{common}"),
    )
    equal(refused(fleet, thing, client_id=f"other-{thing}"), NOT_AUTHORIZED)
    client_id = f"{thing}-1"
    with Plain(fleet, thing, client_id=client_id) as link:
        for topic in (f"by-thing/{thing}", f"by-client/{client_id}", f"by-name/{thing}"):
            equal(link.publish(topic, "x") in (0, 16), True, topic)
        forbidden(link, f"by-client/{thing}")
    # A value that would be a wildcard is not put in.
    with Plain(fleet, thing, client_id=f"{thing}-*") as link:
        forbidden(link, f"by-client/{client_id}")


@check("an explicit deny beats what is allowed elsewhere")
def _(fleet):
    topics = ["topic/$aws/things/*/shadow/delete", "topic/$aws/things/*/shadow/name/*/delete"]
    thing = with_policy(fleet, statement("Deny", "iot:Publish", *topics), default=True)
    with Plain(fleet, thing) as link:
        link.subscribe(f"{shadow(thing)}/update/+", f"{shadow(thing)}/get/+")
        link.accepted(f"{shadow(thing)}/update", {"state": {"reported": {"a": 1}}})
        forbidden(link, f"{shadow(thing)}/delete")
    with Plain(fleet, thing) as link:
        link.subscribe(f"{shadow(thing)}/get/+")
        equal(link.accepted(f"{shadow(thing)}/get", {})["state"]["reported"], {"a": 1})


@check("B10 connect, publish, subscribe and receive are denied, each for itself")
def _(fleet):
    client = f"client-{unique()}"
    thing = with_policy(
        fleet,
        statement("Allow", "iot:Connect", f"client/{client}"),
        statement("Allow", "iot:Publish", "topic/line/*"),
        statement("Allow", "iot:Subscribe", "topicfilter/line/*"),
        statement("Allow", "iot:Receive", "topic/line/open/*"),
    )
    equal(refused(fleet, thing, client_id=f"{client}-2"), NOT_AUTHORIZED)
    with Plain(fleet, thing, client_id=client) as link:
        forbidden(link, "other/a")
    with Plain(fleet, thing, client_id=client) as link:
        not_subscribed(link, "other/#")
    with Plain(fleet, thing, client_id=client) as link:
        equal(link.subscribe("line/#"), [1])
        link.publish("line/secret/a", "not for it")
        link.publish("line/open/a", "for it")
        equal(link.heard("line/open/a"), "for it")
        equal([message.topic for message in link.messages.left()], [])
        # RETAIN is an action of its own.
        forbidden(link, "line/open/a", "x", retain=True)


@check("conditions on the CONNECT and on the peer's address hold")
def _(fleet):
    only_plain = statement("Allow", "iot:Connect", "*")
    only_plain["Condition"] = {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}}
    thing = with_policy(fleet, only_plain, statement("Allow", "iot:Publish", "topic/*"))
    Plain(fleet, thing).close()
    equal(refused(fleet, thing, will=("line/gone", "x", 1, False)), NOT_AUTHORIZED)
    elsewhere = statement("Deny", "iot:Connect", "*")
    elsewhere["Condition"] = {"IpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]}}
    thing = with_policy(fleet, elsewhere, default=True)
    equal(refused(fleet, thing), NOT_AUTHORIZED)


@check("B17 nobody speaks in the service's voice or as an operator, whatever the policy says")
def _(fleet):
    thing = with_policy(fleet, statement("Allow", "iot:*", "*"))
    for topic in (
        f"{shadow(thing)}/update/accepted",
        f"{shadow(thing)}/update/delta",
        f"$aws/things/{thing}/jobs/notify-next",
        f"$aws/events/presence/connected/{thing}",
        "muster/view/actions",
        "muster/reply/admin/1",
        "muster/op/policy-attach",
    ):
        with Plain(fleet, thing) as link:
            forbidden(link, topic)
    for topic in ("#", "+/#", "muster/reply/#", "muster/op/#", "$aws/#"):
        with Plain(fleet, thing) as link:
            not_subscribed(link, topic)


@check("what is attached and taken away holds at once for a connection that stands")
def _(fleet):
    thing, other = fleet.thing(), f"behind-{unique()}"
    with Plain(fleet, thing) as link:
        equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])
        attach(fleet, "gateway", thing)
        link.subscribe(f"{shadow(other)}/update/+")
        link.accepted(f"{shadow(other)}/update", {"state": {"reported": {"a": 1}}})
        link.unsubscribe(f"{shadow(other)}/update/+")
        detach(fleet, "gateway", thing)
        forbidden(link, f"{shadow(other)}/update")


@check("a changed policy holds at once for a connection that stands")
def _(fleet):
    name = f"policy-{unique()}"
    rest = statement("Allow", ["iot:Connect", "iot:Subscribe"], "*"), statement("Allow", "iot:Publish", "topic/line/*")
    store(fleet, name, *rest, statement("Allow", "iot:Receive", "topic/line/*"))
    thing = fleet.thing()
    attach(fleet, name, thing)
    detach(fleet, "default", thing)
    with Plain(fleet, thing) as link:
        equal(link.subscribe("line/#"), [1])
        link.publish("line/a", "1")
        equal(link.heard("line/a"), "1")
        store(fleet, name, *rest, replace=True)
        link.publish("line/a", "2")
        store(fleet, name, *rest, statement("Allow", "iot:Receive", "topic/line/*"), replace=True)
        link.publish("line/a", "3")
        equal(link.heard("line/a"), "3")
        store(fleet, name, statement("Allow", "iot:Subscribe", "*"), replace=True)
        link.lost()
    equal(refused(fleet, thing), NOT_AUTHORIZED)


@check("a session that hears what its policies no longer allow is ended, and so is one that waits")
def _(fleet):
    thing, other, client_id = fleet.thing(), f"behind-{unique()}", f"kept-{unique()}"
    attach(fleet, "gateway", thing)
    with Plain(fleet, thing, client_id=client_id, keep_session=True) as link:
        equal(link.subscribe(f"{shadow(other)}/update/accepted"), [1])
    with Plain(fleet, thing) as link:
        equal(link.subscribe(f"{shadow(other)}/update/accepted"), [1])
        detach(fleet, "gateway", thing)
        link.lost()
    with Plain(fleet, thing, client_id=client_id, keep_session=True) as link:
        true(not link.flags.session_present, "the session is there with what it may not hear")


if __name__ == "__main__":
    main()
