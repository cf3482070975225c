"""Fleet provisioning through `IotIdentityClient`, the first generation: publish here, callbacks there."""

from awsiot import iotidentity
from awsiot.iotidentity import IotIdentityClient

from harness import OnLink, check, each_of, equal, main, true, unique
from provision import Stage
from sdk import Link, published, subscribed


class Device(OnLink):
    """A device that holds nothing but a claim, and what its callbacks said."""

    def __init__(self, fleet):
        self.fleet, self.stage = fleet, Stage(fleet)
        self.link = Link(fleet, self.stage.claim)
        self.client = IotIdentityClient(self.link.client)
        self.created = self._answers("create_keys_and_certificate", "CreateKeysAndCertificate")
        self.certified = self._answers("create_certificate_from_csr", "CreateCertificateFromCsr")
        self.registered = self._answers("register_thing", "RegisterThing", template_name=self.stage.template)

    def _answers(self, call, kind, **fields):
        request = getattr(iotidentity, f"{kind}SubscriptionRequest")(**fields)
        return tuple(
            subscribed(getattr(self.client, f"subscribe_to_{call}_{end}"), request) for end in ("accepted", "rejected")
        )

    def create(self):
        published(self.client.publish_create_keys_and_certificate, iotidentity.CreateKeysAndCertificateRequest())
        return self.created[0].take("the new keys")

    def register(self, token, **parameters):
        request = iotidentity.RegisterThingRequest(
            template_name=self.stage.template, certificate_ownership_token=token, parameters=parameters
        )
        published(self.client.publish_register_thing, request)


device = each_of(Device)


@device("P1 P4 keys are made, the thing is registered, and the device comes back as it")
def _(device):
    created, serial = device.create(), unique()
    device.register(created.certificate_ownership_token, SerialNumber=serial, DeviceLocation="Rome")
    registered = device.registered[0].take("the name of the thing")
    equal((registered.thing_name, registered.device_configuration), (f"cam-{serial}", {"LocationUrl": "r"}))
    with Link(device.fleet, device.stage.keep(created.certificate_pem, created.private_key)):
        pass
    for events in device.created + device.certified + device.registered:
        equal(events.left(), [])


@device("P2 a request of the device is certified")
def _(device):
    csr, key = device.stage.request()
    request = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr)
    published(device.client.publish_create_certificate_from_csr, request)
    created, serial = device.certified[0].take("the certificate"), unique()
    device.register(created.certificate_ownership_token, SerialNumber=serial)
    equal(device.registered[0].take("the name of the thing").thing_name, f"cam-{serial}")
    with Link(device.fleet, device.stage.keep(created.certificate_pem, key)):
        pass


@device("P5 a token is good once")
def _(device):
    token = device.create().certificate_ownership_token
    device.register(token, SerialNumber=unique())
    device.registered[0].take("the name of the thing")
    device.register(token, SerialNumber=unique())
    error = device.registered[1].take("the refusal")
    equal((error.status_code, error.error_code), (400, "InvalidCertificateOwnershipToken"))
    true(error.error_message, "it says why")


if __name__ == "__main__":
    main()
