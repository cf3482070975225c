"""What the scripts here share: the command line, named checks, and certificates and jobs made with `muster`.

A script registers its checks with `@check` and ends with `main()`. Each check prints one line, `ok NAME` or
`not ok NAME why`; the exit code is 0 only when all of them hold. Nothing here sleeps: a check waits for a message
with a deadline, and shows that nothing was sent by a later message that comes first.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import traceback

# None of what is waited for takes a second; a busy machine may need many.
DEADLINE_S = 60

_checks = []
_serial = itertools.count(1)


def check(name):
    """Registers a check. It gets the `Fleet`; it fails when it raises."""

    def register(function):
        # A script that is imported by another only lends what it defines.
        if function.__globals__["__name__"] == "__main__":
            _checks.append((name, function))
        return function

    return register


class OnLink:
    """Something with a `link` of its own, which is closed when the check is over."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()


def each_of(make, kinds=(("", ()),)):
    """A way to register checks that get what `make(fleet, *arguments)` makes, once for each kind `(prefix, arguments)`."""

    def named(name):
        def register(function):
            # As in `check`.
            if function.__globals__["__name__"] == "__main__":
                for prefix, arguments in kinds:
                    _checks.append((prefix + name, lambda fleet, arguments=arguments: _on(make, fleet, arguments, function)))
            return function

        return register

    return named


def _on(make, fleet, arguments, function):
    with make(fleet, *arguments) as subject:
        function(subject)


# The shadow without a name, and one with.
BOTH_KINDS = (("classic: ", (False,)), ("named: ", (True,)))


def equal(found, wanted, what=""):
    """Fails the check unless the two are equal; JSON makes no difference between 1 and true, this does."""
    if json.dumps(found, sort_keys=True, default=repr) != json.dumps(wanted, sort_keys=True, default=repr):
        raise AssertionError(f"{what + ': ' if what else ''}found {found!r}, wanted {wanted!r}")


def true(condition, what):
    """Fails the check unless the condition holds."""
    if not condition:
        raise AssertionError(what)


def recent(seconds):
    """Fails the check unless this is the time of now in whole Unix seconds."""
    true(isinstance(seconds, int) and abs(seconds - time.time()) < 120, f"{seconds!r} is no time of now in seconds")


class Fleet:
    """The server, as a device and its operator see it."""

    def __init__(self, arguments):
        self.host, self.port = arguments.host, arguments.port
        self.mqtt = arguments.mqtt
        self.work = pathlib.Path(arguments.work)
        self._muster, self._data = arguments.muster, arguments.data
        self.authority = str(pathlib.Path(self._data) / "ca" / "ca.crt")

    def muster(self, *words):
        """Runs a command of the operator."""
        command = [self._muster, *words, "--data", self._data]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        true(done.returncode == 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def thing(self, start="thing"):
        """A new thing with a certificate of its own."""
        name = f"{start}-{unique()}"
        self.muster("cert", "issue", "--name", name, "--policy", "connector", "--out", str(self.work))
        return name

    def certificate(self, name):
        """The files of a certificate: chain, key, authority."""
        return tuple(str(self.work / file) for file in (f"{name}.crt", f"{name}.key", "ca.crt"))

    def create_job(self, job, *things, document=None, options=()):
        """Makes a job for these things; options are those of the command."""
        file = self.work / f"{job}.json"
        file.write_text(json.dumps(document or {"operation": job}))
        targets = ("--to-things", ",".join(things)) if things else ()
        self.muster("job", "create", job, *targets, "--document", str(file), *options)


class Events:
    """Messages in the order in which they arrived."""

    def __init__(self):
        self._all, self._changed = [], threading.Condition()

    def put(self, event):
        """Notes one."""
        with self._changed:
            self._all.append(event)
            self._changed.notify_all()

    def take(self, what="an event", wanted=lambda event: True):
        """The oldest that is wanted, removed."""
        found = []

        def look():
            for place, event in enumerate(self._all):
                if wanted(event):
                    found.append(self._all.pop(place))
                    return True
            return False

        with self._changed:
            if not self._changed.wait_for(look, DEADLINE_S):
                raise AssertionError(f"{what} did not come within {DEADLINE_S} s; there are {self._all!r}")
        return found[0]

    def left(self):
        """Those that nobody took."""
        with self._changed:
            return list(self._all)


def unique():
    """A name part that no other call gets, in this process and in others at the same time."""
    return f"{os.getpid()}-{next(_serial)}"


def main():
    """Runs the checks in the order of their registration."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mqtt", choices=["3", "5"], required=True)
    parser.add_argument("--muster", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", required=True, help="an empty folder for certificates and documents")
    parser.add_argument("--only", default="", help="run the checks whose name has these words")
    arguments = parser.parse_args()
    fleet = Fleet(arguments)
    failed = 0
    for name, function in _checks:
        if arguments.only not in name:
            continue
        try:
            function(fleet)
            print(f"ok {name}", flush=True)
        except Exception as error:  # a check fails in any way it likes
            failed += 1
            print(f"not ok {name} {type(error).__name__}: {' '.join(str(error).split())}", flush=True)
            traceback.print_exc(file=sys.stderr)
    sys.exit(1 if failed else 0)
