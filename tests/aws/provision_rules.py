"""The rules of fleet provisioning that no service client of the SDK can break or see."""

import json

from awscrt.cbor import AwsCborDecoder, AwsCborEncoder

from harness import OnLink, check, each_of, equal, main, true, unique
from plain import Plain, Refused
from provision import Hook, Stage

CREATE = "$aws/certificates/create/json"


class Device(OnLink):
    """A device that holds nothing but a claim. It subscribes to nothing: answers come all the same."""

    def __init__(self, fleet, stage=None):
        self.fleet, self.stage = fleet, stage or Stage(fleet)
        self.link = Plain(fleet, self.stage.claim)
        self.topic = f"$aws/provisioning-templates/{self.stage.template}/provision/json"

    def token(self):
        return self.link.accepted(CREATE, {})["certificateOwnershipToken"]

    def register(self, token, serial):
        request = {"certificateOwnershipToken": token, "parameters": {"SerialNumber": serial}}
        return self.link.ask(self.topic, request)


device = each_of(Device)


def cbor(value):
    encoder = AwsCborEncoder()
    encoder.write_data_item(value)
    return encoder.get_encoded_data()


@device("P1 answers have exactly the keys of the guide")
def _(device):
    created = device.link.accepted(CREATE, b"")
    equal(sorted(created), ["certificateId", "certificateOwnershipToken", "certificatePem", "privateKey"])
    csr, _key = device.stage.request()
    topic = "$aws/certificates/create-from-csr/json"
    certified = device.link.accepted(topic, {"certificateSigningRequest": csr})
    equal(sorted(certified), ["certificateId", "certificateOwnershipToken", "certificatePem"])
    error = device.link.rejected(topic, {"certificateSigningRequest": "x"})
    equal(sorted(error), ["errorCode", "errorMessage", "statusCode"])


@device("P3 CBOR is answered in CBOR")
def _(device):
    def ask(topic, value):
        device.link.publish(topic, cbor(value))
        ends = (f"{topic}/accepted", f"{topic}/rejected")
        message = device.link.messages.take(f"an answer to {topic}", lambda message: message.topic in ends)
        return message.topic.rsplit("/", 1)[1], AwsCborDecoder(message.payload).pop_next_data_item()

    end, created = ask("$aws/certificates/create/cbor", {})
    equal(end, "accepted")
    csr, _key = device.stage.request()
    equal(ask("$aws/certificates/create-from-csr/cbor", {"certificateSigningRequest": csr})[0], "accepted")
    topic, serial = f"$aws/provisioning-templates/{device.stage.template}/provision/cbor", unique()
    request = {"certificateOwnershipToken": created["certificateOwnershipToken"], "parameters": {"SerialNumber": serial}}
    end, registered = ask(topic, request)
    equal((end, registered["thingName"]), ("accepted", f"cam-{serial}"))
    end, error = ask(topic, request)
    equal((end, error["statusCode"], error["errorCode"]), ("rejected", 400, "InvalidCertificateOwnershipToken"))


@device("P4 a certificate opens nothing before its thing is registered")
def _(device):
    created = device.link.accepted(CREATE, {})
    certificate = device.stage.keep(created["certificatePem"], created["privateKey"])
    try:
        Plain(device.fleet, certificate).close()
        raise AssertionError("a pending certificate was let in")
    except Refused:
        pass
    end, registered = device.register(created["certificateOwnershipToken"], unique())
    equal(end, "accepted")
    thing = registered["thingName"]
    known = json.loads(device.fleet.muster("connector", "show", thing, "--json"))["certificates"][0]
    equal(round((known["not_after"] - known["issued_at"]) / 86_400_000), 365, "days of its life")
    with Plain(device.fleet, certificate) as link:
        equal(link.subscribe(f"$aws/things/{thing}/shadow/update/+"), [1])
        link.accepted(f"$aws/things/{thing}/shadow/update", {"state": {"reported": {"a": 1}}})


@check("P6 a hook allows, denies and overrides; one that fails denies")
def _(fleet):
    answers = {
        "yes": (200, json.dumps({"allowProvisioning": True, "parameterOverrides": {"DeviceLocation": "Rome"}}).encode()),
        "no": (200, b'{"allowProvisioning": false}'),
        "broken": (500, b'{"allowProvisioning": true}'),
        "garbage": (200, b"certainly"),
        "huge": (200, b" " * 1_000_000 + b'{"allowProvisioning": true}'),
        "slow": (None, b""),
    }
    with Hook(answers) as hook, Stage(fleet, hook.url) as stage, Device(fleet, stage) as device:
        token = device.token()
        for serial in ("no", "broken", "garbage", "huge", "slow"):
            end, error = device.register(token, serial)
            equal((end, error["statusCode"], error["errorCode"]), ("rejected", 403, "ACCESS_DENIED"), serial)
        end, registered = device.register(token, "yes")
        equal((end, registered["thingName"]), ("accepted", "cam-yes"))
        equal(registered["deviceConfiguration"], {"LocationUrl": "r"})
        question = hook.asked[-1]
        equal(
            sorted(question),
            ["certificateId", "certificatePem", "claimCertificateId", "clientId", "parameters", "templateArn"],
        )
        equal(question["clientId"], device.link.client_id)
        true(question["templateArn"].endswith(f"/{stage.template}"), question["templateArn"])


@check("P7 what one device with the claim is told, no other hears")
def _(fleet):
    with Stage(fleet) as stage, Plain(fleet, stage.claim) as one, Plain(fleet, stage.claim) as other:
        wishes = (f"{CREATE}/accepted", "$aws/certificates/create/#", "$aws/certificates/create/+/accepted")
        for filter in wishes:
            equal(other.subscribe(filter), [1])
        keys = {one.accepted(CREATE, {})["privateKey"] for _ in range(5)}
        # Its own answer comes after everything that it could have heard.
        keys.add(other.accepted(CREATE, {})["privateKey"])
        equal(other.messages.left(), [])
        equal(len(keys), 6)
        # A session that waits would be resumed by whoever has the claim and the client id.
        with Plain(fleet, stage.claim, client_id="shared", keep_session=True) as first:
            equal(first.flags.session_present, False)
            first.subscribe(f"{CREATE}/accepted")
            first.cut()
        with Plain(fleet, stage.claim, client_id="shared", keep_session=True) as second:
            equal(second.flags.session_present, False, "nothing waits for a claim")


@check("P8 a claim may do nothing else")
def _(fleet):
    with Stage(fleet) as stage:
        thing = fleet.thing()
        topics = [
            f"$aws/things/{thing}/shadow/get",
            f"$aws/things/{thing}/jobs/get",
            f"muster/things/{thing}/telemetry/host",
            "$aws/provisioning-templates/another/provision/json",
            "$aws/events/presence/connected/x",
            "muster/op/connector-list",
            "app/x",
        ]
        filters = [
            f"$aws/things/{thing}/shadow/#",
            "$aws/certificates/#",
            "$aws/provisioning-templates/+/provision/json/accepted",
            "$aws/events/#",
            "muster/view/#",
            "app/#",
            "#",
        ]
        for topic in topics:
            with Plain(fleet, stage.claim) as link:
                if link.mqtt5:
                    true(link.publish(topic, b"{}") >= 0x80, f"publishing on {topic} was allowed")
                else:
                    link.send(topic, b"{}")
                    link.lost()
        for filter in filters:
            with Plain(fleet, stage.claim) as link:
                if link.mqtt5:
                    equal(link.subscribe(filter), [0x87], filter)
                else:
                    link.send_subscribe(filter)
                    link.lost()


@check("P8 a revoked claim is thrown out and stays out")
def _(fleet):
    with Stage(fleet) as stage:
        with Plain(fleet, stage.claim) as link:
            link.accepted(CREATE, {})
            fleet.muster("claim", "revoke", stage.name, "--reason", "leaked")
            link.lost()
        try:
            Plain(fleet, stage.claim).close()
            raise AssertionError("a revoked claim was let in")
        except Refused:
            pass


if __name__ == "__main__":
    main()
