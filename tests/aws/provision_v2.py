"""Fleet provisioning through `IotIdentityClientV2`: one call, one future."""

from awsiot import iotidentity, iotshadow
from awsiot.iotidentity import IotIdentityClientV2
from awsiot.iotshadow import IotShadowClientV2

from harness import DEADLINE_S, OnLink, check, each_of, equal, main, true, unique
from provision import Stage
from sdk import Link, refused, second_generation


class Device(OnLink):
    """A device that holds nothing but a claim."""

    def __init__(self, fleet):
        self.fleet, self.stage = fleet, Stage(fleet)
        self.link = Link(fleet, self.stage.claim)
        self.client = second_generation(IotIdentityClientV2, self.link)

    def create(self):
        request = iotidentity.CreateKeysAndCertificateRequest()
        return self.client.create_keys_and_certificate(request).result(DEADLINE_S)

    def create_from_csr(self, csr):
        request = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr)
        return self.client.create_certificate_from_csr(request)

    def register(self, token, template=None, **parameters):
        request = iotidentity.RegisterThingRequest(
            template_name=template or self.stage.template,
            certificate_ownership_token=token,
            parameters=parameters or None,
        )
        return self.client.register_thing(request)


device = each_of(Device)


def shadow_of(fleet, certificate, thing):
    """Shows that this certificate speaks for this thing, over a connection of its own."""
    with Link(fleet, certificate) as link:
        client = second_generation(IotShadowClientV2, link)
        state = iotshadow.ShadowState(reported={"here": True})
        request = iotshadow.UpdateShadowRequest(thing_name=thing, state=state)
        equal(client.update_shadow(request).result(DEADLINE_S).version, 1)


@device("P1 P4 keys are made, the thing is registered, and the device comes back as it")
def _(device):
    created = device.create()
    equal(len(created.certificate_id), 64)
    true(created.private_key.startswith("-----BEGIN"), "a key in PEM")
    serial = unique()
    registered = device.register(created.certificate_ownership_token, SerialNumber=serial).result(DEADLINE_S)
    equal(registered.thing_name, f"cam-{serial}")
    equal(registered.device_configuration, {"LocationUrl": "https://example.aws"})
    certificate = device.stage.keep(created.certificate_pem, created.private_key)
    shadow_of(device.fleet, certificate, f"cam-{serial}")
    shown = device.fleet.muster("connector", "show", f"cam-{serial}")
    true("cameras" in shown and device.stage.template in shown and "serialNumber" in shown, shown)


@device("P2 P4 a request of the device is certified, and the key never leaves it")
def _(device):
    csr, key = device.stage.request()
    created = device.create_from_csr(csr).result(DEADLINE_S)
    serial = unique()
    device.register(created.certificate_ownership_token, SerialNumber=serial).result(DEADLINE_S)
    shadow_of(device.fleet, device.stage.keep(created.certificate_pem, key), f"cam-{serial}")
    error = refused(device.create_from_csr("nonsense"))
    equal((error.status_code, error.error_code), (400, "InvalidCertificateSigningRequest"))


@device("P5 a token is good once, and must be there")
def _(device):
    token = device.create().certificate_ownership_token
    error = refused(device.register("", SerialNumber=unique()))
    equal(error.status_code, 400)
    equal(error.error_code, "InvalidCertificateOwnershipToken")
    equal(error.error_message, "Certificate ownership token cannot be empty.")
    error = refused(device.register(token))
    equal((error.status_code, error.error_code), (400, "InvalidParameters"))
    device.register(token, SerialNumber=unique()).result(DEADLINE_S)
    error = refused(device.register(token, SerialNumber=unique()))
    equal((error.status_code, error.error_code), (400, "InvalidCertificateOwnershipToken"))


@device("P7 two devices with one claim at the same time get keys of their own")
def _(device):
    with Link(device.fleet, device.stage.claim) as other_link:
        other = second_generation(IotIdentityClientV2, other_link)
        ask = iotidentity.CreateKeysAndCertificateRequest
        answers = []
        for _ in range(5):
            both = [client.create_keys_and_certificate(ask()) for client in (device.client, other)]
            answers += [future.result(DEADLINE_S) for future in both]
        equal(len({answer.private_key for answer in answers}), 10)
        equal(len({answer.certificate_id for answer in answers}), 10)


if __name__ == "__main__":
    main()
