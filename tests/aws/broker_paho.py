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


@check("B13 the user name of an SDK is accepted and ignored")
def _(fleet):
    thing = fleet.thing()
    user = ("?SDK=IoTDeviceSDK/Python&Platform=Unix&Metadata=(CRTVersion=0.36.1)", None)
    with Plain(fleet, thing, user=user) as link:
        equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])


@check("B14 the ALPN names of the service are served")
def _(fleet):
    thing = fleet.thing()
    for name in ("x-amzn-mqtt-ca", "mqtt"):
        with Plain(fleet, thing, alpn=name) as link:
            equal(link.alpn(), name)
            equal(link.subscribe(f"{shadow(thing)}/get/+"), [1])


@check("B7 a session is kept with its subscriptions and with what was said meanwhile")
def _(fleet):
    thing, client_id = fleet.thing(), f"kept-{unique()}"
    with Plain(fleet, thing, client_id=client_id, keep_session=True) as link:
        true(not link.flags.session_present, "a session is said to be present")
        equal(link.subscribe(f"app/{thing}/#"), [1])
    with Plain(fleet, thing) as other:
        for number in range(3):
            equal(other.publish(f"app/{thing}/n", str(number)), 0)
        other.publish(f"app/{thing}/n", "not guaranteed", qos=0)
    with Plain(fleet, thing, client_id=client_id, keep_session=True) as link:
        true(link.flags.session_present, "no session is said to be present")
        equal([link.heard(f"app/{thing}/n") for _time in range(3)], ["0", "1", "2"])
        equal(link.publish(f"app/{thing}/n", "live"), 0)
        equal(link.heard(f"app/{thing}/n"), "live")
    with Plain(fleet, thing, client_id=client_id) as link:
        true(not link.flags.session_present, "a clean connection found a session")
    with Plain(fleet, thing, client_id=client_id, keep_session=True) as link:
        true(not link.flags.session_present, "a clean connection left a session")


@check("B16 the will is published when the connection breaks and not after a goodbye")
def _(fleet):
    thing = fleet.thing()
    topic = f"app/{thing}/will"
    with Plain(fleet, thing) as listener:
        listener.subscribe(topic)
        Plain(fleet, thing, will=(topic, "unsaid", 1, False)).close()
        Plain(fleet, thing, will=(topic, "said", 1, True)).cut()
        equal(listener.heard(topic), "said")
        equal(listener.subscribe(topic), [1])
        message = listener.messages.take(topic)
        equal((message.payload.decode(), message.retain), ("said", True), "a retained will")
    other = fleet.thing()
    for topic in (f"app/{other}/x", f"{shadow(other)}/update"):
        equal(refused(fleet, thing, will=(topic, "{}", 1, False)), NOT_AUTHORIZED, topic)


@check("B5 a retained message comes to an exact filter and to no wildcard, and an empty one removes it")
def _(fleet):
    thing = fleet.thing()
    topic = f"app/{thing}/state"
    with Plain(fleet, thing) as link:
        equal(link.publish(topic, "1", retain=True), 0)
        link.subscribe(f"app/{thing}/+", f"app/{thing}/#", topic)
        message = link.messages.take(topic)
        equal((message.payload.decode(), message.retain), ("1", True))
        equal(link.publish(topic, "", retain=True), 0)
        equal(link.heard(topic), "", "the removal is heard")
    with Plain(fleet, thing) as link:
        link.subscribe(topic)
        equal(link.publish(topic, "live"), 0)
        equal([link.heard(topic), len(link.messages.left())], ["live", 0])


@check("B6 a group shares its messages")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as one, Plain(fleet, thing) as two, Plain(fleet, thing) as speaker:
        for member in (one, two):
            equal(member.subscribe(f"$share/workers/app/{thing}/#"), [1])
        for number in range(4):
            equal(speaker.publish(f"app/{thing}/work", str(number)), 0)
        heard = [member.heard(f"app/{thing}/work") for member in (one, two) for _time in range(2)]
        equal(sorted(heard), ["0", "1", "2", "3"])


@check("B8 what MQTT 5 says beside the payload reaches MQTT 5, and the payload reaches both")
def _(fleet):
    thing = fleet.thing()
    topic = f"app/{thing}/x"
    with Plain(fleet, thing) as one, Plain(fleet, thing, other_version=True) as other:
        for link in (one, other):
            equal(link.subscribe(topic), [1])
        said = {"ContentType": "text/plain", "ResponseTopic": f"app/{thing}/r", "CorrelationData": b"7"}
        equal(one.publish(topic, "x", UserProperty=[("k", "1"), ("k", "2")], **said), 0)
        for link in (one, other):
            message = link.messages.take(topic)
            equal(message.payload.decode(), "x")
            if link.mqtt5 and one.mqtt5:
                told = message.properties
                equal((told.ContentType, told.ResponseTopic), ("text/plain", f"app/{thing}/r"))
                equal((told.CorrelationData.decode(), told.UserProperty), ("7", [("k", "1"), ("k", "2")]))


@check("B9 the life of a message is forwarded")
def _(fleet):
    thing = fleet.thing()
    topic = f"app/{thing}/x"
    with Plain(fleet, thing) as link:
        link.subscribe(topic)
        equal(link.publish(topic, "x", MessageExpiryInterval=1000), 0)
        message = link.messages.take(topic)
        if link.mqtt5:
            true(900 <= message.properties.MessageExpiryInterval <= 1000, "the rest of the message's life")


@check("MQTT over WebSocket is the same service")
def _(fleet):
    thing = fleet.thing()
    topic = f"app/{thing}/will"
    with Plain(fleet, thing, web_socket=True) as link, Plain(fleet, thing) as plain:
        equal(link.subscribe(f"{shadow(thing)}/+/+", topic), [1, 1])
        equal(link.rejected(f"{shadow(thing)}/get", {})["code"], 404)
        equal(link.accepted(f"{shadow(thing)}/update", {"state": {"reported": {"a": "x" * 5000}}})["version"], 1)
        equal(plain.publish(topic, b"y" * 100_000), 0)
        equal(len(link.heard(topic)), 100_000)


@check("a request is seen by those who subscribed to its topic, and an unknown one is rejected")
def _(fleet):
    thing = fleet.thing()
    jobs = f"$aws/things/{thing}/jobs"
    with Plain(fleet, thing) as link, Plain(fleet, thing) as sibling:
        equal(sibling.subscribe(f"{shadow(thing)}/get", f"{jobs}/#"), [1, 1])
        link.subscribe(f"{shadow(thing)}/get/+")
        equal(link.rejected(f"{shadow(thing)}/get", {"clientToken": "t"})["clientToken"], "t")
        equal(sibling.message(f"{shadow(thing)}/get"), {"clientToken": "t"})
        rejected = link.rejected(f"{jobs}/j/nonsense", {"clientToken": "t"})
        equal((rejected["code"], rejected["clientToken"]), ("InvalidTopic", "t"))
        link.rejected(f"{shadow(thing)}/get", {})
        sibling.message(f"{shadow(thing)}/get")
        equal([message.topic for message in sibling.messages.left()], [], "what is no request is passed on to nobody")


@check("B3 a second connection with the same client id ends the first")
def _(fleet):
    thing, client_id = fleet.thing(), f"same-{unique()}"
    with Plain(fleet, thing, client_id=client_id) as first, Plain(fleet, thing, client_id=client_id) as second:
        first.lost()
        equal(second.subscribe(f"{shadow(thing)}/get/+"), [1])
        equal(second.rejected(f"{shadow(thing)}/get", {})["code"], 404)


@check("B3 the SDK is told that its session was taken over")
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


@check("B1 client ids have 128 bytes at most, no dollar in front and no wildcard")
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


@check("B11 MQTT 5 clients are told the limits, and the keep-alive is kept in bounds")
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


@check("B2 QoS 2 is granted as 1, and a publish with it ends the connection")
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


@check("B4 overlapping subscriptions get one copy, and # does not match its parent")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        base = shadow(thing)
        link.subscribe(f"{base}/update/accepted/#", f"{base}/get/+", f"{base}/get/accepted", f"{base}/get/#")
        equal(link.publish(f"{base}/update", '{"state":{"reported":{"a":1}}}'), 0)
        equal(link.accepted(f"{base}/get", {})["version"], 1)
        equal([message.topic for message in link.messages.left()], [])


@check("B10 another thing's topics may not be subscribed to")
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


@check("B10 another thing's topics and other topics may not be published to")
def _(fleet):
    thing, other = fleet.thing(), fleet.thing()
    for topic in (f"{shadow(other)}/update", f"$aws/things/{other}/jobs/get", "muster/op/upgrade"):
        with Plain(fleet, thing) as link:
            forbidden(link, topic, '{"state":{}}')
    with Plain(fleet, other) as link:
        link.subscribe(f"{shadow(other)}/get/+")
        equal(link.rejected(f"{shadow(other)}/get", {})["code"], 404)


@check("B10 the SDK is told that a publish with QoS 0 was forbidden")
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


@check("B17 nobody speaks in the service's voice")
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


@check("B1 a payload of 128 KiB is taken, a larger one ends the connection")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        equal(link.publish(f"{shadow(thing)}/update", b"x" * (128 * 1024)), 0)
        link.send(f"{shadow(thing)}/update", b"x" * (128 * 1024 + 1))
        link.lost()


@check("B1 eight filters fit a SUBSCRIBE and fifty a connection")
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


@check("a publish with RETAIN on a topic of the service ends the connection and is not retained")
def _(fleet):
    thing = fleet.thing()
    with Plain(fleet, thing) as link:
        link.send(f"{shadow(thing)}/update", '{"state":{}}', retain=True)
        link.lost()
    with Plain(fleet, thing) as link:
        link.subscribe(f"{shadow(thing)}/#")
        equal(link.rejected(f"{shadow(thing)}/get", {})["code"], 404)
        # Its own request is what it subscribed to as well.
        equal([message.topic for message in link.messages.left()], [f"{shadow(thing)}/get"])


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
