"""Requests to the HTTP data plane over one kept connection, with a certificate or without, by Python's own client."""

import http.client
import json
import ssl

from harness import DEADLINE_S, equal, true


class Web:
    """A connection; it is opened anew when the server has closed it."""

    def __init__(self, fleet, thing=None, alpn=None):
        context = ssl.create_default_context(cafile=fleet.authority)
        if thing:
            cert, key, _authority = fleet.certificate(thing)
            context.load_cert_chain(cert, key)
        if alpn:
            context.set_alpn_protocols([alpn])
        self._http = http.client.HTTPSConnection(fleet.host, fleet.port, timeout=DEADLINE_S, context=context)

    def ask(self, method, path, body=None, headers=()):
        """Status, headers and body of the answer; a JSON body is read."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        self._http.request(method, path, body, dict(headers))
        answer = self._http.getresponse()
        content = answer.read()
        if answer.headers.get_content_type() == "application/json" and content:
            content = json.loads(content)
        return answer.status, answer.headers, content

    def done(self, method, path, body=None, headers=()):
        """The body of an answer that must be good."""
        status, _headers, content = self.ask(method, path, body, headers)
        true(status == 200, f"{method} {path}: {status} {content}")
        return content

    def refused(self, status, name, method, path, body=None, headers=()):
        """The body of an answer that must be this error."""
        found, told, content = self.ask(method, path, body, headers)
        equal((found, told["x-amzn-ErrorType"]), (status, name), f"{method} {path}: {content}")
        return content

    def close(self):
        """Ends the connection."""
        self._http.close()
