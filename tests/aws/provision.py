"""What the scripts about fleet provisioning share: a template, its claims, and devices that keep what they are given."""

import http.server
import json
import shutil
import threading

from harness import unique

# In the form of AWS IoT Core, as its guide shows it.
TEMPLATE = {
    "Parameters": {
        "SerialNumber": {"Type": "String"},
        "DeviceLocation": {"Type": "String", "Default": "Seattle"},
    },
    "Mappings": {"LocationTable": {"Seattle": {"LocationUrl": "https://example.aws"}, "Rome": {"LocationUrl": "r"}}},
    "Resources": {
        "thing": {
            "Type": "AWS::IoT::Thing",
            "Properties": {
                "AttributePayload": {"version": "v1", "serialNumber": {"Ref": "SerialNumber"}},
                "ThingName": {"Fn::Join": ["", ["cam-", {"Ref": "SerialNumber"}]]},
                "ThingGroups": ["cameras"],
            },
            "OverrideSettings": {"AttributePayload": "MERGE", "ThingGroups": "DO_NOTHING"},
        },
        "certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"},
        },
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "default"}},
    },
    "DeviceConfiguration": {
        "LocationUrl": {"Fn::FindInMap": ["LocationTable", {"Ref": "DeviceLocation"}, "LocationUrl"]}
    },
}


class Stage:
    """A new template with one claim. Certificates are called as in `Fleet.certificate`."""

    def __init__(self, fleet, hook=None):
        self.fleet = fleet
        self.template = f"cams-{unique()}"
        file = fleet.work / f"{self.template}.json"
        file.write_text(json.dumps(TEMPLATE))
        options = ("--hook", hook) if hook else ()
        fleet.muster("template", "create", self.template, "--file", str(file), *options)
        self.claim = self.new_claim()

    def new_claim(self):
        """Makes another claim; returns what its certificate is called."""
        folder = self.fleet.work / f"claim-{unique()}"
        fleet_answer = self.fleet.muster("claim", "create", self.template, "--out", str(folder), "--json")
        self.name = json.loads(fleet_answer)["claim"]
        shutil.copy(folder / "ca.crt", self.fleet.work / "ca.crt")
        return f"{folder.name}/claim"

    def keep(self, certificate, key):
        """Writes a device's certificate down; returns what it is called."""
        name = f"device-{unique()}"
        (self.fleet.work / f"{name}.crt").write_text(certificate)
        (self.fleet.work / f"{name}.key").write_text(key)
        return name

    def request(self):
        """A certificate request, and the key that stays with the device; both were made before the script."""
        return (self.fleet.work / "request.csr").read_text(), (self.fleet.work / "request.key").read_text()

    def close(self):
        """Takes the claims back, so that no other check can use them."""
        self.fleet.muster("template", "delete", self.template)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Hook:
    """An HTTP server that answers each question with what `answers` says for its serial number."""

    def __init__(self, answers):
        self.asked = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.asked.append(question)
                status, body = answers[question["parameters"]["SerialNumber"]]
                if status is None:
                    hook.released.wait()
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass  # one that is too large is not read to its end

            def log_message(self, *_):
                pass

        self.released = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/allow"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
