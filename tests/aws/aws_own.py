"""AWS's own tests of its SDK (`test_shadow.py`, `test_jobs.py`, `test_identity.py` of the SDK's sources), as they are.

They speak MQTT with the server and ask AWS's control plane for things, groups and jobs. A stand-in for that control
plane does with `muster` what an operator would. Only the port is set from outside, because the tests have 8883 written
into them.
"""

import http.server
import json
import os
import pathlib
import sys
import threading
import unittest
import urllib.parse

from harness import check, main
from provision import Stage

# What the checklist calls each file.
FILES = {"test_shadow": "S22", "test_jobs": "J26", "test_identity": "P1 P2 P4"}


class ControlPlane(http.server.BaseHTTPRequestHandler):
    """The calls of `boto3.client("iot")` that the tests make."""

    fleet = None

    def _answer(self, body, status=200):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _carry_out(self):
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = [urllib.parse.unquote(part) for part in urllib.parse.urlsplit(self.path).path.split("/")[1:]]
        try:
            self._answer(self._do(self.command, path, body))
        except LookupError as error:
            self._answer({"message": f"{self.command} {self.path} is not played here: {error!r}"}, 501)
        except Exception as error:  # the test shall see what the operator would
            self._answer({"message": str(error)}, 500)

    do_GET = do_POST = do_PUT = do_DELETE = _carry_out

    def _do(self, method, path, body):
        muster = self.fleet.muster
        match method, *path:
            case "POST", "thing-groups", group:
                # A group is a pool here, and exists with its first member.
                return {"thingGroupName": group, "thingGroupArn": f"arn:aws:iot:us-east-1:0:thinggroup/{group}"}
            case "DELETE", "thing-groups", _:
                return {}
            case "POST", "things", thing:
                muster("connector", "add", thing)
                return {"thingName": thing, "thingArn": f"arn:aws:iot:us-east-1:0:thing/{thing}"}
            case "DELETE", "things", thing:
                muster("connector", "remove", thing, "--yes")
                return {}
            case "PUT", "thing-groups", "addThingToThingGroup":
                muster("connector", "edit", body["thingName"], "--pool", body["thingGroupName"])
                return {}
            case "PUT", "jobs", job:
                file = self.fleet.work / f"{job}.json"
                file.write_text(body["document"])
                groups = [target.rsplit("/", 1)[1] for target in body["targets"]]
                to = [word for group in groups for word in ("--to", f"pool={group}")]
                kind = {"CONTINUOUS": ["--continuous"], "SNAPSHOT": []}[body["targetSelection"]]
                muster("job", "create", job, *to, *kind, "--document", str(file))
                return {"jobId": job}
            case "DELETE", "jobs", job:
                muster("job", "delete", job, "--force")
                return {}
            case "GET", "certificates", certificate:
                arn = f"arn:aws:iot:us-east-1:0:cert/{certificate}"
                return {"certificateDescription": {"certificateArn": arn, "certificateId": certificate}}
            case ("PUT" | "DELETE", "certificates", _) | ("DELETE", "things", _, "principals"):
                # The certificates of a thing went with the thing.
                return {}
            case "POST", "attached-policies", *_:
                return {"policies": []}
        raise LookupError(path)

    def log_message(self, *_):
        pass


def prepare(fleet):
    """Sets what the tests read from the environment, and starts the stand-in. Before anything of AWS is imported."""
    thing = fleet.thing("own")
    # The tests call their things as they like.
    fleet.muster("policy", "attach", "gateway", thing, "--any-name")
    chain, key, authority = fleet.certificate(thing)
    stage = Stage(fleet)
    claim, claim_key, _ = fleet.certificate(stage.claim)
    ControlPlane.fleet = fleet
    plane = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ControlPlane)
    threading.Thread(target=plane.serve_forever, daemon=True).start()
    os.environ.update(
        AWS_TEST_MQTT5_IOT_CORE_HOST=fleet.host,
        AWS_TEST_MQTT5_IOT_CERTIFICATE_PATH=chain,
        AWS_TEST_MQTT5_IOT_KEY_PATH=key,
        AWS_TEST_MQTT5_IOT_CORE_REGION="us-east-1",
        AWS_TEST_IOT_CORE_PROVISIONING_HOST=fleet.host,
        AWS_TEST_IOT_CORE_PROVISIONING_CERTIFICATE_PATH=claim,
        AWS_TEST_IOT_CORE_PROVISIONING_KEY_PATH=claim_key,
        AWS_TEST_IOT_CORE_PROVISIONING_CSR_PATH=str(fleet.work / "request.csr"),
        AWS_TEST_IOT_CORE_PROVISIONING_TEMPLATE_NAME=stage.template,
        AWS_ENDPOINT_URL_IOT=f"http://127.0.0.1:{plane.server_port}",
        AWS_ACCESS_KEY_ID="stand-in",
        AWS_SECRET_ACCESS_KEY="stand-in",
        # The tests trust what the system trusts.
        SSL_CERT_FILE=authority,
    )


def set_port(port):
    """Has every client of the SDK connect to this port."""
    from awscrt import mqtt, mqtt5

    def with_port(made):
        def init(*arguments, **named):
            named["port"] = port
            made(*arguments, **named)

        return init

    mqtt5.ClientOptions.__init__ = with_port(mqtt5.ClientOptions.__init__)
    mqtt.Connection.__init__ = with_port(mqtt.Connection.__init__)


def tests(file):
    """The tests of one file, flat."""
    found = unittest.defaultTestLoader.loadTestsFromName(file)
    while any(isinstance(one, unittest.TestSuite) for one in found):
        found = [one for suite in found for one in (suite if isinstance(suite, unittest.TestSuite) else [suite])]
    return list(found)


def register(file, name):
    @check(f"{FILES[file]} AWS's own {file}.py: {name}")
    def _(_fleet):
        [test] = [test for test in tests(file) if test.id().rsplit(".", 1)[1] == name]
        result = unittest.TestResult()
        test.run(result)
        for _test, trace in result.errors + result.failures:
            raise AssertionError(trace)
        if result.skipped:
            raise AssertionError(f"skipped: {result.skipped}")


@check("what AWS's tests need is there")
def _(fleet):
    prepare(fleet)
    set_port(fleet.port)


if __name__ == "__main__":
    [sources] = (pathlib.Path(sys.prefix) / "sdk").iterdir()
    sys.path.insert(0, str(sources / "test"))
    for file in FILES:
        for line in (sources / "test" / f"{file}.py").read_text().splitlines():
            if line.strip().startswith("def test_"):
                register(file, line.strip().removeprefix("def ").split("(", 1)[0])
    main()
