"""The HTTP data plane with access keys, asked by boto3 as it is: only its endpoint is another."""

import datetime
import json
import ssl
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions

from harness import DEADLINE_S, check, equal, main, recent, true, unique
from plain import Plain
from web import Web

REGION = "eu-central-1"


class Key:
    """An access key of `muster key create`."""

    def __init__(self, fleet, policy):
        made = json.loads(fleet.muster("key", "create", "--policy", policy, "--description", "test", "--json"))
        self.id, self.secret = made["key"]["id"], made["secret"]

    def client(self, fleet, service, secret=None, token=None):
        """A client of boto3."""
        return boto3.client(
            service,
            endpoint_url=f"https://{fleet.host}:{fleet.port}",
            region_name=REGION,
            verify=fleet.authority,
            aws_access_key_id=self.id,
            aws_secret_access_key=secret or self.secret,
            aws_session_token=token,
            config=botocore.config.Config(retries={"max_attempts": 1}, connect_timeout=DEADLINE_S, read_timeout=DEADLINE_S),
        )

    def signed(self, fleet, method, path, body=b"", service="iotdata", headers=(), at=None):
        """The headers of a request that botocore signs, at another time if need be."""
        url = f"https://{fleet.host}:{fleet.port}{path}"
        request = botocore.awsrequest.AWSRequest(method=method, url=url, data=body, headers=dict(headers))
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(self.id, self.secret), service, REGION)
        if at is None:
            signer.add_auth(request)
        else:
            stamp = at.strftime("%Y%m%dT%H%M%SZ")
            request.context["timestamp"] = stamp
            request.headers["X-Amz-Date"] = stamp
            text = signer.string_to_sign(request, signer.canonical_request(request))
            signer._inject_signature_to_request(request, signer.signature(text, request))
        return dict(request.headers.items())


def fails(name, code, call, **arguments):
    """The message of the error that a call must end with."""
    try:
        answer = call(**arguments)
    except botocore.exceptions.ClientError as error:
        told = error.response
        equal((told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]), (name, code), str(error))
        return told["Error"]["Message"]
    raise AssertionError(f"not refused: {answer}")


def document(answer):
    """The document in the answer to a shadow call."""
    return json.loads(answer["payload"].read())


@check("shadows: get, update, delete, list")
def shadows(fleet):
    data = Key(fleet, "operator").client(fleet, "iot-data")
    # With characters that are encoded in a path: they are signed in their encoded form.
    thing = f"line:{unique()}"
    told = fails("ResourceNotFoundException", 404, data.get_thing_shadow, thingName=thing)
    equal(told, f"No shadow exists with name: '{thing}'")
    for name in ({}, {"shadowName": "n-1"}):
        sent = json.dumps({"state": {"desired": {"a": 1}}})
        equal(document(data.update_thing_shadow(thingName=thing, payload=sent, **name))["version"], 1)
        found = document(data.get_thing_shadow(thingName=thing, **name))
        equal(found["state"], {"desired": {"a": 1}, "delta": {"a": 1}})
        told = fails("ConflictException", 409, data.update_thing_shadow, thingName=thing,
                     payload=json.dumps({"state": {}, "version": 8}), **name)
        equal(told, "Version conflict")
    fails("InvalidRequestException", 400, data.update_thing_shadow, thingName=thing, payload="{")
    for number in range(4):
        data.update_thing_shadow(thingName=thing, shadowName=f"p{number}", payload='{"state":{}}')
    first = data.list_named_shadows_for_thing(thingName=thing, pageSize=3)
    recent(first["timestamp"])
    rest = data.list_named_shadows_for_thing(thingName=thing, pageSize=3, nextToken=first["nextToken"])
    equal(first["results"] + rest["results"], ["n-1", "p0", "p1", "p2", "p3"])
    true("nextToken" not in rest, "that was all")
    equal(document(data.delete_thing_shadow(thingName=thing))["version"], 1)
    fails("ResourceNotFoundException", 404, data.delete_thing_shadow, thingName=thing)


@check("publish and retained messages")
def publish(fleet):
    data = Key(fleet, "operator").client(fleet, "iot-data")
    thing = fleet.thing()
    topic = f"app/{thing}/a b"
    with Plain(fleet, thing) as link:
        link.subscribe(f"app/{thing}/#")
        data.publish(
            topic=topic, qos=1, retain=True, payload=b"\x00one", contentType="text/plain", responseTopic="app/r",
            messageExpiry=60, userProperties=json.dumps([{"k": "v"}]), correlationData="Yw==",
            payloadFormatIndicator="UNSPECIFIED_BYTES",
        )
        message = link.messages.take("the message")
        equal((message.topic, message.payload, message.qos), (topic, b"\x00one", 1))
        told = message.properties
        equal((told.UserProperty, told.ContentType, told.ResponseTopic, told.CorrelationData),
              ([("k", "v")], "text/plain", "app/r", b"c"))
    found = data.get_retained_message(topic=topic)
    equal((found["topic"], found["payload"], found["qos"]), (topic, b"\x00one", 1))
    equal(json.loads(found["userProperties"]), [{"k": "v"}])
    recent(found["lastModifiedTime"] // 1000)
    topics = sorted(f"app/{thing}/{number}" for number in range(5))
    for one in topics:
        data.publish(topic=one, retain=True, payload=b"12")
    found, token = [], {}
    while True:
        page = data.list_retained_messages(maxResults=2, **token)
        found += page["retainedTopics"]
        if "nextToken" not in page:
            break
        equal(len(page["retainedTopics"]), 2)
        token = {"nextToken": page["nextToken"]}
    mine = [(one["topic"], one["payloadSize"], one["qos"]) for one in found if one["topic"] in topics]
    equal(mine, [(one, 2, 0) for one in topics])
    data.publish(topic=topic, retain=True, payload=b"")
    fails("ResourceNotFoundException", 404, data.get_retained_message, topic=topic)


@check("J22 jobs with the key of a device")
def jobs(fleet):
    thing, job = fleet.thing(), f"job-{unique()}"
    device = Key(fleet, f"connector:{thing}").client(fleet, "iot-jobs-data")
    pending = device.get_pending_job_executions(thingName=thing)
    equal((pending["inProgressJobs"], pending["queuedJobs"]), ([], []))
    true("execution" not in device.start_next_pending_job_execution(thingName=thing), "nothing is pending")
    fleet.create_job(job, thing, document={"do": 1})
    for which in (job, "$next"):
        found = device.describe_job_execution(thingName=thing, jobId=which)["execution"]
        equal((found["jobId"], found["status"], found["jobDocument"]), (job, "QUEUED", '{"do":1}'))
    fails("InvalidRequestException", 400, device.update_job_execution, thingName=thing, jobId=job, status="CANCELED")
    started = device.start_next_pending_job_execution(thingName=thing, statusDetails={"a": "b"})["execution"]
    equal((started["status"], started["versionNumber"], started["statusDetails"]), ("IN_PROGRESS", 2, {"a": "b"}))
    told = fails("InvalidStateTransitionException", 409, device.update_job_execution, thingName=thing, jobId=job,
                 status="SUCCEEDED", expectedVersion=9)
    true("found version 2" in told, told)
    done = device.update_job_execution(thingName=thing, jobId=job, status="SUCCEEDED", expectedVersion=2,
                                       includeJobExecutionState=True, includeJobDocument=True)
    equal((done["executionState"]["status"], done["jobDocument"]), ("SUCCEEDED", '{"do":1}'))
    fails("TerminalStateException", 410, device.describe_job_execution, thingName=thing, jobId=job)
    fails("ResourceNotFoundException", 404, device.describe_job_execution, thingName=thing, jobId="none")


@check("the endpoint is where the client is")
def endpoint(fleet):
    control = Key(fleet, "observer").client(fleet, "iot")
    found = control.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    equal(found, fleet.host)
    found = control.describe_endpoint(endpointType="iot:Jobs")["endpointAddress"]
    equal(found, f"{fleet.host}:{fleet.port}")
    # The rest of the control plane is `muster`.
    refused = (control.list_jobs, {}), (control.create_job, {"jobId": "j", "targets": ["arn:x"], "document": "{}"})
    for call, arguments in refused:
        try:
            answer = call(**arguments)
        except botocore.exceptions.ClientError as error:
            equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 404, str(error))
        else:
            raise AssertionError(f"not refused: {answer}")


@check("connections: looked at, sent to, ended")
def connections(fleet):
    data = Key(fleet, "operator").client(fleet, "iot-data")
    thing = fleet.thing()
    will = f"app/{thing}/will"
    fails("ResourceNotFoundException", 404, data.get_connection, clientId="nobody")
    fails("ResourceNotFoundException", 404, data.delete_connection, clientId="nobody")
    watcher = f"watcher-{unique()}"
    fleet.muster("cert", "issue", "--name", watcher, "--policy", "observer", "--out", str(fleet.work))
    with Plain(fleet, watcher) as witness:
        witness.subscribe("$aws/events/presence/disconnected/+")
        link = Plain(fleet, thing, keep_session=True, will=(will, b"gone", 1))
        topics = sorted([f"app/{thing}/a", f"app/{thing}/b/+", f"$share/g/app/{thing}/c"])
        link.subscribe(*topics)
        found = data.get_connection(clientId=link.client_id, includeSocketInformation=True)
        equal((found["connected"], found["thingName"], found["cleanSession"], found["keepAliveDuration"]),
              (True, thing, False, 60))
        equal((found["clientId"], found["sourceIp"], found["sessionExpiry"]), (link.client_id, "127.0.0.1", 3600))
        recent(found["connectedSince"] // 1000)
        first = data.list_subscriptions(clientId=link.client_id, maxResults=2)
        rest = data.list_subscriptions(clientId=link.client_id, nextToken=first["nextToken"])
        equal(first["subscriptions"] + rest["subscriptions"], [{"topicFilter": one, "qos": 1} for one in topics])
        data.send_direct_message(clientId=link.client_id, topic="app/direct", payload=b"hello", contentType="text/plain")
        message = link.messages.take("the direct message")
        equal((message.topic, message.payload, message.properties.ContentType), ("app/direct", b"hello", "text/plain"))
        fails("ForbiddenException", 403, data.send_direct_message, clientId=link.client_id, payload=b"",
              topic=f"$aws/things/{thing}/jobs/notify")
        data.delete_connection(clientId=link.client_id)
        link.lost()
        event = witness.message(f"$aws/events/presence/disconnected/{link.client_id}")
        equal((event["disconnectReason"], event["clientInitiatedDisconnect"]), ("API_INITIATED_DISCONNECT", False))
        # Its session waits: what the client subscribed to is there, and it is not connected.
        found = data.get_connection(clientId=link.client_id)
        equal((found["connected"], "sourceIp" in found), (False, False))
        told = fails("ResourceNotFoundException", 404, data.send_direct_message, clientId=link.client_id, topic="app/direct",
                     payload=b"hello")
        true("its session waits" in told, told)
        data.delete_connection(clientId=link.client_id, cleanSession=True)
        fails("ResourceNotFoundException", 404, data.get_connection, clientId=link.client_id)
    # Of two wills on one topic only the one that is not prevented is said.
    with Plain(fleet, thing) as witness:
        witness.subscribe(will)
        for prevented in (True, False):
            said = str(prevented).encode()
            link = Plain(fleet, thing, will=(will, said, 1))
            data.delete_connection(clientId=link.client_id, preventWillMessage=prevented)
            link.lost()
        equal(witness.messages.take("a will").payload, b"False")
    # Two things with one client id: none of them is meant.
    shared = f"shared-{unique()}"
    with Plain(fleet, thing, client_id=shared) as one, Plain(fleet, fleet.thing(), client_id=shared) as other:
        fails("InvalidRequestException", 400, data.get_connection, clientId=shared)
        fails("InvalidRequestException", 400, data.delete_connection, clientId=shared)
        equal(one.ended.left() + other.ended.left(), [])
    observer = Key(fleet, "observer").client(fleet, "iot-data")
    with Plain(fleet, thing) as link:
        observer.get_connection(clientId=link.client_id)
        observer.list_subscriptions(clientId=link.client_id)
        fails("ForbiddenException", 403, observer.delete_connection, clientId=link.client_id)


@check("each policy allows what it says and nothing else")
def policies(fleet):
    thing, other = fleet.thing(), fleet.thing()
    update = {"payload": '{"state":{}}'}
    operator = Key(fleet, "operator").client(fleet, "iot-data")
    for one in (thing, other):
        operator.update_thing_shadow(thingName=one, **update)
    for own in ("components", "agent"):
        fails("ForbiddenException", 403, operator.update_thing_shadow, thingName=thing, shadowName=own, **update)
    fails("ForbiddenException", 403, operator.publish, topic=f"$aws/things/{thing}/shadow/update", **update)
    operator_jobs = Key(fleet, "operator").client(fleet, "iot-jobs-data")
    fails("ForbiddenException", 403, operator_jobs.get_pending_job_executions, thingName=thing)
    observer = Key(fleet, "observer").client(fleet, "iot-data")
    observer.get_thing_shadow(thingName=thing)
    observer.list_retained_messages()
    fails("ForbiddenException", 403, observer.update_thing_shadow, thingName=thing, **update)
    fails("ForbiddenException", 403, observer.delete_thing_shadow, thingName=thing)
    fails("ForbiddenException", 403, observer.publish, topic="app/x", payload=b"")
    device = Key(fleet, f"connector:{thing}").client(fleet, "iot-data")
    device.update_thing_shadow(thingName=thing, **update)
    device.publish(topic=f"app/{thing}/x", payload=b"")
    fails("ForbiddenException", 403, device.get_thing_shadow, thingName=other)
    fails("ForbiddenException", 403, device.publish, topic=f"app/{other}/x", payload=b"")
    fails("ForbiddenException", 403, device.list_retained_messages)
    # Policies by name count for the key as they do for its connector: at once, and a Deny for its own thing too.
    fleet.muster("policy", "attach", "gateway", thing, "--any-name")
    device.get_thing_shadow(thingName=other)
    jobs = Key(fleet, f"connector:{thing}").client(fleet, "iot-jobs-data")
    jobs.get_pending_job_executions(thingName=other)
    statement = {"Effect": "Deny", "Action": "iot:GetThingShadow", "Resource": "*"}
    file, name = fleet.work / "unread.json", f"unread-{unique()}"
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    fleet.muster("policy", "add", str(file), "--name", name)
    fleet.muster("policy", "attach", name, thing, "--any-name")
    for one in (thing, other):
        fails("ForbiddenException", 403, device.get_thing_shadow, thingName=one)
        device.update_thing_shadow(thingName=one, **update)


@check("a wrong secret, an unknown key and a session token are refused")
def wrong_secret(fleet):
    key, thing = Key(fleet, "operator"), fleet.thing()
    told = fails("InvalidSignatureException", 403, key.client(fleet, "iot-data", secret="A" * 43).get_thing_shadow, thingName=thing)
    true("does not match" in told and "A" * 43 not in told, told)
    token = key.client(fleet, "iot-data", token="session")
    fails("UnrecognizedClientException", 403, token.get_thing_shadow, thingName=thing)
    key.id = "MSTA" + "A" * 16
    fails("UnrecognizedClientException", 403, key.client(fleet, "iot-data").get_thing_shadow, thingName=thing)


@check("a revoked key is refused at once, on a connection that stands")
def revoked(fleet):
    key, thing = Key(fleet, "operator"), fleet.thing()
    data = key.client(fleet, "iot-data")
    data.update_thing_shadow(thingName=thing, payload='{"state":{}}')
    fleet.muster("key", "revoke", key.id)
    fails("UnrecognizedClientException", 403, data.get_thing_shadow, thingName=thing)
    listed = json.loads(fleet.muster("key", "list", "--json"))["keys"]
    (mine,) = [one for one in listed if one["id"] == key.id]
    true(mine["revoked_at"] and mine["policy"] == "operator", f"{mine}")
    true(key.secret not in json.dumps(listed), "a list tells no secret")


@check("whatever is not what was signed is refused")
def tampered(fleet):
    key, thing = Key(fleet, "operator"), fleet.thing()
    path, body = f"/things/{thing}/shadow", b'{"state":{"desired":{"a":1}}}'
    web = Web(fleet)
    web.done("POST", path, body, key.signed(fleet, "POST", path, body))
    bad = ("InvalidSignatureException",)
    headers = key.signed(fleet, "POST", path, body)
    web.refused(403, *bad, "POST", path, body.replace(b"1", b"2"), headers)
    web.refused(403, *bad, "DELETE", path, None, headers)
    web.refused(403, *bad, "POST", f"{path}?name=x", body, headers)
    web.refused(403, *bad, "POST", f"/things/{thing}x/shadow", body, headers)
    web.refused(403, *bad, "POST", path, body, {**headers, "x-amz-mqtt5-correlation-data": "YQ=="})
    web.refused(403, *bad, "POST", path, body, key.signed(fleet, "POST", path, body, service="iot-jobs-data"))
    for minutes in (-6, 6):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        told = web.refused(403, *bad, "POST", path, body, key.signed(fleet, "POST", path, body, at=at))
        true("Signature expired" in told["message"], told["message"])
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=4)
    web.done("POST", path, body, key.signed(fleet, "POST", path, body, at=at))
    for header in ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "AWS4-X Credential=x"):
        web.refused(403, "IncompleteSignatureException", "GET", path, None, {"Authorization": header})
    web.refused(403, "MissingAuthenticationTokenException", "GET", path, None, {"Authorization": "Bearer x"})
    # A certificate that may do it does not mend a signature that does not count.
    own = Web(fleet, thing)
    own.done("GET", path)
    own.refused(403, *bad, "GET", path, None, headers)


@check("programs with keys do not share the few connections of strangers")
def no_strangers(fleet):
    key, path = Key(fleet, "observer"), "/things/none/shadow"
    # Of strangers one address has 64.
    webs = [Web(fleet) for _ in range(80)]
    for _ in range(2):
        for web in webs:
            web.refused(404, "ResourceNotFoundException", "GET", path, None, key.signed(fleet, "GET", path))
    for web in webs:
        web.close()


@check("another client signs like boto3")
def urllib_signed(fleet):
    key, thing = Key(fleet, "operator"), fleet.thing()
    path = f"/topics/app%2F{thing}?contentType=text%2Fplain&qos=1"
    url = f"https://{fleet.host}:{fleet.port}{path}"
    request = urllib.request.Request(url, b"x", key.signed(fleet, "POST", path, b"x"), method="POST")
    context = ssl.create_default_context(cafile=fleet.authority)
    with urllib.request.urlopen(request, timeout=DEADLINE_S, context=context) as answer:
        equal(answer.status, 200)


if __name__ == "__main__":
    main()
