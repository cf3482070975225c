"""The MQTT server as Eclipse paho meets it: connections, subscriptions, what is allowed and what is not."""

from awscrt import mqtt, mqtt5

from harness import check, equal, main, true, unique
from plain import Plain, Refused
from sdk import Link

NOT_AUTHORIZED = 0x87


def shadow(thing):
    return f"$aws/things/{thing}/shadow"


def refused(fleet, thing, **settings):
    """The reason why a connection is not accepted."""
    try:
        Plain(fleet, thing, **settings).close()
    except Refused as error:
        return error.reason.value
    raise AssertionError(f"{settings} was accepted")


def forbidden(link, topic, payload):
    """A publish is refused: by its PUBACK with MQTT 5, by the end of the connection with MQTT 3.1.1."""
    if link.mqtt5:
        equal(link.publish(topic, payload), NOT_AUTHORIZED, topic)
    else:
        link.send(topic, payload)
        link.lost()


@check("the user name of an SDK is accepted and ignored")
def _(fleet):
    thing = fleet.thing()
    user = ("?SDK=IoTDeviceSDK/Python&Platform=Unix&Metadata=(CRTVersion=0.36.1)", None)
    with Plain(fleet, thing, user=user) as link:
        equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])


@check("the ALPN names of the service are served")
def _(fleet):
    thing = fleet.thing()
    for name in ("x-amzn-mqtt-ca", "mqtt"):
        with Plain(fleet, thing, alpn=name) as link:
            equal(link.alpn(), name)
            equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])


@check("no session is kept, whatever the client wishes")
def _(fleet):
    thing, client_id = fleet.thing(), f"kept-{unique()}"
    for _time in range(2):
        with Plain(fleet, thing, client_id=client_id, keep_session=True) as link:
            true(not link.flags.session_present, "a session is said to be present")
            if link.mqtt5:
                equal(getattr(link.properties, "SessionExpiryInterval", 0), 0)
            equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])


@check("a second connection with the same client id ends the first")
def _(fleet):
    thing, client_id = fleet.thing(), f"same-{unique()}"
    with Plain(fleet, thing, client_id=client_id) as first, Plain(fleet, thing, client_id=client_id) as second:
        first.lost()
        equal(second.subscribe(f"{shadow(thing)}/get/+"), [1])
        equal(second.rejected(f"{shadow(thing)}/get", {})["code"], 404)


@check("the SDK is told that its session was taken over")
def _(fleet):
    thing, client_id = fleet.thing(), f"same-{unique()}"
    with Link(fleet, thing, client_id=client_id) as first, Plain(fleet, thing, client_id=client_id):
        end = first.ended.take("the end of the first connection")
        if first.mqtt5:
            equal(end.disconnect_packet.reason_code, mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)


@check("the same client id of two things is two connections")
def _(fleet):
    one, other, client_id = fleet.thing(), fleet.thing(), f"same-{unique()}"
    with Plain(fleet, one, client_id=client_id) as first, Plain(fleet, other, client_id=client_id) as second:
        equal(first.subscribe(f"{shadow(one)}/get/+"), [1])
        equal(second.subscribe(f"{shadow(other)}/get/+"), [1])
        equal(first.ended.left(), [])


@check("client ids have 128 bytes at most, no dollar in front and no wildcard")
def _(fleet):
    thing = fleet.thing()
    Plain(fleet, thing, client_id="x" * 128).close()
    for client_id in ("x" * 129, "$x", "a+b", "a#b"):
        equal(refused(fleet, thing, client_id=client_id), 0x85, client_id[:10])


@check("without a client id one is assigned")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing, client_id="") as link:
        if link.mqtt5:
            true(len(link.properties.AssignedClientIdentifier) > 4, "no id was assigned")
        equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])


@check("MQTT 5 clients are told the limits, and the keep-alive is kept in bounds")
def _(fleet):
    thing = fleet.thing()
    for wish, granted in ((5, 30), (30, 30), (60, 60), (1200, 1200), (1201, 1200)):
        with Plain(fleet, thing, keep_alive=wish) as link:
            if not link.mqtt5:
                continue
            told = link.properties
            equal(told.ServerKeepAlive, granted, f"a wish of {wish} s")
            equal((told.MaximumQoS, told.ReceiveMaximum, told.SubscriptionIdentifierAvailable), (1, 100, 0))
            equal((told.WildcardSubscriptionAvailable, told.MaximumPacketSize >= 128 * 1024), (1, True))


@check("QoS 2 is granted as 1, and a publish with it ends the connection")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        equal(link.subscribe(f"{shadow(thing)}/get/+", qos=2), [1])
        equal(link.subscribe(f"{shadow(thing)}/delete/+", qos=0), [0])
        link.send(f"{shadow(thing)}/get", qos=2)
        link.lost()


@check("QoS 0 requests are answered, with the QoS of the subscription")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        link.subscribe(f"{shadow(thing)}/get/rejected", qos=0)
        link.publish(f"{shadow(thing)}/get", qos=0)
        equal(link.messages.take().qos, 0)
        link.subscribe(f"{shadow(thing)}/get/rejected", qos=1)
        link.publish(f"{shadow(thing)}/get", qos=0)
        equal(link.messages.take().qos, 1)


@check("overlapping subscriptions get one copy, and # does not match its parent")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        base = shadow(thing)
        link.subscribe(f"{base}/update/accepted/#", f"{base}/get/+", f"{base}/get/accepted", f"{base}/get/#")
        equal(link.publish(f"{base}/update", '{"state":{"reported":{"a":1}}}'), 0)
        equal(link.accepted(f"{base}/get", {})["version"], 1)
        equal([message.topic for message in link.messages.left()], [])


@check("another thing's topics may not be subscribed to")
def _(fleet):
    thing, other = fleet.thing(), fleet.thing()
    for topic in (f"{shadow(other)}/#", f"$aws/things/{other}/jobs/#", "$aws/things/+/shadow/#", "$aws/#", "#", "+/+"):
        with Plain(fleet, thing) as link:
            if link.mqtt5:
                equal(link.subscribe(topic), [NOT_AUTHORIZED], topic)
                equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])
            else:
                link.send_subscribe(topic)
                link.lost()


@check("another thing's topics and other topics may not be published to")
def _(fleet):
    thing, other = fleet.thing(), fleet.thing()
    for topic in (f"{shadow(other)}/update", f"$aws/things/{other}/jobs/get", "muster/op/upgrade"):
        with Plain(fleet, thing) as link:
            forbidden(link, topic, '{"state":{}}')
    with Plain(fleet, other) as link:
        link.subscribe(f"{shadow(other)}/get/+")
        equal(link.rejected(f"{shadow(other)}/get", {})["code"], 404)


@check("the SDK is told that a publish with QoS 0 was forbidden")
def _(fleet):
    thing, other = fleet.thing(), fleet.thing()
    with Link(fleet, thing) as link:
        topic, payload = f"{shadow(other)}/update", b'{"state":{}}'
        if link.mqtt5:
            link.client.publish(mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_MOST_ONCE))
            end = link.ended.take("the end of the connection")
            equal(end.disconnect_packet.reason_code, mqtt5.DisconnectReasonCode.NOT_AUTHORIZED)
        else:
            link.client.publish(topic, payload, mqtt.QoS.AT_MOST_ONCE)
            link.ended.take("the end of the connection")


@check("nobody speaks in the service's voice")
def _(fleet):
    thing = fleet.thing()
    base, jobs = shadow(thing), f"$aws/things/{thing}/jobs"
    for topic in (
        f"{base}/update/accepted",
        f"{base}/update/rejected",
        f"{base}/update/delta",
        f"{base}/update/documents",
        f"{base}/name/settings/get/accepted",
        f"{jobs}/notify",
        f"{jobs}/notify-next",
        f"{jobs}/get/accepted",
        f"{jobs}/job/update/rejected",
        f"$aws/events/presence/connected/{thing}",
    ):
        with Plain(fleet, thing) as link:
            forbidden(link, topic, "{}")


@check("a payload of 128 KiB is taken, a larger one ends the connection")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        equal(link.publish(f"{shadow(thing)}/update", b"x" * (128 * 1024)), 0)
        link.send(f"{shadow(thing)}/update", b"x" * (128 * 1024 + 1))
        link.lost()


@check("eight filters fit a SUBSCRIBE and fifty a connection")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        filters = [f"{shadow(thing)}/name/n{number}/get/+" for number in range(51)]
        true(min(link.subscribe(*filters[:9])) >= 0x80, "nine were taken")
        for start in range(0, 48, 8):
            equal(link.subscribe(*filters[start : start + 8]), [1] * 8)
        equal(link.subscribe(*filters[48:50]), [1, 1])
        true(link.subscribe(filters[50])[0] >= 0x80, "the fifty-first was taken")
        equal(link.subscribe(filters[0]), [1])


@check("a publish with RETAIN ends the connection and is not retained")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        link.send(f"{shadow(thing)}/update", '{"state":{}}', retain=True)
        link.lost()
    with Plain(fleet, thing) as link:
        link.subscribe(f"{shadow(thing)}/#")
        equal(link.rejected(f"{shadow(thing)}/get", {})["code"], 404)
        equal([message.topic for message in link.messages.left()], [])


@check("a certificate of the fleet is asked for")
def _(fleet):
    try:
        Plain(fleet, None).close()
    except (OSError, TimeoutError, Refused):
        return
    raise AssertionError("a client without a certificate was accepted")


@check("a thing may hold four connections at a time")
def _(fleet):
    thing, links = fleet.thing(), []
    try:
        for _number in range(4):
            links.append(Plain(fleet, thing))
        equal(refused(fleet, thing), 0x97 if fleet.mqtt == "5" else 0x88)
        for link in links:
            equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])
    finally:
        for link in links:
            link.close()


@check("versions of MQTT can be mixed on one thing")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as one, Plain(fleet, thing, other_version=True) as other:
        for link in (one, other):
            equal(link.subscribe(f"{shadow(thing)}/update/documents"), [1])
        for number, link in enumerate((one, other), 1):
            equal(link.publish(f"{shadow(thing)}/update", '{"state":{"reported":{"a":1}}}'), 0)
            for reader in (one, other):
                equal(reader.message(f"{shadow(thing)}/update/documents")["current"]["version"], number)


if __name__ == "__main__":
    main()
