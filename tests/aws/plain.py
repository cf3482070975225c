"""A plain MQTT client (Eclipse paho), for what no service client of the SDK would send."""

import concurrent.futures
import json
import socket
import ssl

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import DEADLINE_S, Events, true, unique


class Refused(Exception):
    """The server did not take the CONNECT."""

    def __init__(self, reason):
        super().__init__(str(reason))
        self.reason = reason


class Plain:
    """A connection. Messages, acknowledgements and the end of it arrive as events."""

    def __init__(
        self,
        fleet,
        thing,
        client_id=None,
        keep_alive=60,
        user=None,
        alpn=None,
        keep_session=False,
        other_version=False,
        will=None,
        web_socket=False,
    ):
        self.mqtt5 = (fleet.mqtt == "5") != other_version
        self.client_id = f"plain-{unique()}" if client_id is None else client_id
        self.messages, self.ended, self._acks = Events(), Events(), Events()
        protocol = paho.MQTTv5 if self.mqtt5 else paho.MQTTv311
        self._paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=protocol,
            clean_session=None if self.mqtt5 else not (keep_session and self.client_id),
            reconnect_on_failure=False,
            transport="websockets" if web_socket else "tcp",
        )
        if web_socket:
            self._paho.ws_set_options(path="/mqtt")
        if will:
            self._paho.will_set(*will)
        context = ssl.create_default_context(cafile=fleet.authority)
        if thing:
            cert, key, _authority = fleet.certificate(thing)
            context.load_cert_chain(cert, key)
        if alpn:
            context.set_alpn_protocols([alpn])
        self._paho.tls_set_context(context)
        if user:
            self._paho.username_pw_set(*user)
        connected = concurrent.futures.Future()
        self._paho.on_connect = lambda client, data, flags, reason, properties: connected.set_result(
            (flags, reason, properties)
        )

        def ended(client, data, flags, reason, properties):
            self.ended.put(reason)
            if not connected.done():
                connected.set_exception(Refused(reason))

        self._paho.on_disconnect = ended
        self._paho.on_message = lambda client, data, message: self.messages.put(message)
        for kind in ("publish", "subscribe", "unsubscribe"):
            setattr(self._paho, f"on_{kind}", self._acknowledged(kind))
        wishes = {}
        if self.mqtt5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if keep_session else 0
            wishes = {"clean_start": not keep_session, "properties": properties}
        self._paho.connect(fleet.host, fleet.port, keepalive=keep_alive, **wishes)
        self._paho.loop_start()
        try:
            self.flags, reason, self.properties = connected.result(DEADLINE_S)
        except (TimeoutError, Refused):
            self.close()
            raise
        if reason.is_failure:
            self.close()
            raise Refused(reason)

    def _acknowledged(self, kind):
        # The last two arguments are the reasons and the properties in every one of these callbacks.
        return lambda client, data, packet, reasons, properties: self._acks.put((kind, packet, reasons))

    def _ack(self, kind, packet):
        what = f"the acknowledgement of a {kind}"
        return self._acks.take(what, lambda ack: ack[:2] == (kind, packet))[2]

    def subscribe(self, *filters, qos=1):
        """Subscribes and returns one code for each filter."""
        _done, packet = self._paho.subscribe([(filter, qos) for filter in filters])
        return [reason.value for reason in self._ack("subscribe", packet)]

    def send_subscribe(self, filter):
        """Subscribes and waits for nothing."""
        self._paho.subscribe(filter, 1)

    def alpn(self):
        """The protocol that the server chose."""
        return self._paho.socket().selected_alpn_protocol()

    def unsubscribe(self, *filters):
        """Unsubscribes and waits for the answer."""
        _done, packet = self._paho.unsubscribe(list(filters))
        self._ack("unsubscribe", packet)

    def publish(self, topic, payload=b"", qos=1, retain=False, **properties):
        """Publishes; with QoS 1 it returns the code of the PUBACK. MQTT 3.1.1 has no properties."""
        told = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(told, name, value)
        sent = self._paho.publish(topic, payload, qos, retain, told if self.mqtt5 else None)
        return self._ack("publish", sent.mid).value if qos else None

    def send(self, topic, payload=b"", qos=1, retain=False):
        """Publishes and waits for nothing."""
        self._paho.publish(topic, payload, qos, retain)

    def heard(self, topic):
        """The payload of the oldest message of this topic, as text."""
        return self.messages.take(topic, lambda message: message.topic == topic).payload.decode()

    def cut(self):
        """Breaks the connection without a word."""
        self._paho.socket().shutdown(socket.SHUT_RDWR)
        self.ended.take("the end of the connection")
        self._paho.loop_stop()

    def message(self, topic):
        """The oldest message of this topic, as JSON."""
        return json.loads(self.messages.take(topic, lambda message: message.topic == topic).payload)

    def ask(self, topic, payload):
        """Publishes a request and returns the name of the answer's topic (`accepted` or `rejected`) and the answer."""
        if not isinstance(payload, (bytes, str)):
            payload = json.dumps(payload)
        self.publish(topic, payload)
        ends = (f"{topic}/accepted", f"{topic}/rejected")
        message = self.messages.take(f"an answer to {topic}", lambda message: message.topic in ends)
        return message.topic.rsplit("/", 1)[1], json.loads(message.payload)

    def accepted(self, topic, payload):
        """The answer to a request that must be accepted."""
        end, answer = self.ask(topic, payload)
        true(end == "accepted", f"{topic} was refused: {answer}")
        return answer

    def rejected(self, topic, payload):
        """The answer to a request that must be refused."""
        end, answer = self.ask(topic, payload)
        true(end == "rejected", f"{topic} was accepted: {answer}")
        return answer

    def lost(self):
        """Waits until the connection has ended and returns why, as the client was told."""
        return self.ended.take("the end of the connection")

    def close(self):
        """Ends the connection in good order."""
        self._paho.disconnect()
        self._paho.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
