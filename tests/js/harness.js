"use strict";
// What a program here stands on: the command line, named checks, certificates made with `muster`, and a connection of
// MQTT.js. As in tests/aws, each check prints one line, `ok NAME` or `not ok NAME why`, the exit code is 0 only when all
// of them hold, and nothing sleeps: a check waits for a message with a deadline.

const { execFile } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const tls = require("node:tls");
const { promisify, parseArgs } = require("node:util");
const mqtt = require("mqtt");

// None of what is waited for takes a second; a busy machine may need many.
const DEADLINE_MS = 60000;
const checks = [];
let serial = 0;

/** A name part that no other call gets, in this process and in others at the same time. */
function unique() {
  serial += 1;
  return `${process.pid}-${serial}`;
}

/** Registers a check. It gets the `Fleet`; it fails when it throws. */
function check(name, run) {
  checks.push({ name, run });
}

/** The server, as a device and its operator see it. */
class Fleet {
  constructor(settings) {
    this.host = settings.host;
    this.port = settings.port;
    this.version = settings.mqtt === "5" ? 5 : 4;
    this.work = settings.work;
    this.program = settings.muster;
    this.data = settings.data;
  }

  /** Runs a command of the operator. */
  async muster(...words) {
    const done = await promisify(execFile)(this.program, [...words, "--data", this.data], { timeout: 120000 });
    return done.stdout;
  }

  /** A new name with a certificate of its own. */
  async named(policy = "connector") {
    const name = `${policy}-${unique()}`;
    await this.muster("cert", "issue", "--name", name, "--policy", policy, "--out", this.work);
    return name;
  }

  file(name) {
    return fs.readFileSync(path.join(this.work, name));
  }
}

/** A connection of MQTT.js. Messages and the end of it are kept until somebody asks for them. */
class Link {
  /**
   * Connects. `web` takes the way of a browser: MQTT over WebSocket at `/mqtt`; `alpn` is what TLS offers; everything
   * else goes to MQTT.js.
   */
  static async open(fleet, name, { web = false, alpn, ...more } = {}) {
    const link = new Link();
    const offer = alpn ? { ALPNProtocols: alpn } : {};
    // As the WebSocket package makes it, and kept: the checks ask for its ALPN, and cut it.
    const createConnection = (settings) => {
      link.socket = tls.connect({ ...settings, path: undefined, servername: fleet.host });
      return link.socket;
    };
    const client = mqtt.connect(`${web ? "wss" : "mqtts"}://${fleet.host}:${fleet.port}${web ? "/mqtt" : ""}`, {
      protocolVersion: fleet.version,
      clientId: `js-${unique()}`,
      ca: fleet.file("ca.crt"),
      cert: fleet.file(`${name}.crt`),
      key: fleet.file(`${name}.key`),
      rejectUnauthorized: true,
      reconnectPeriod: 0,
      connectTimeout: DEADLINE_MS,
      ...(web ? { wsOptions: { ...offer, createConnection } } : offer),
      ...more,
    });
    link.client = client;
    link.messages = [];
    link.waiting = new Set();
    link.ended = false;
    link.comebacks = -1;
    client.on("message", (topic, payload, packet) => {
      link.messages.push({ topic, text: payload.toString(), retain: packet.retain, properties: packet.properties ?? {} });
      link.look();
    });
    client.on("close", () => {
      link.ended = true;
      link.look();
    });
    client.on("connect", () => {
      link.comebacks += 1;
      link.look();
    });
    // Kept, not thrown: what comes after the connection stands is told by the call that failed or by the end.
    client.on("error", (error) => {
      link.error = error;
    });
    link.connack = await new Promise((resolve, reject) => {
      client.once("connect", resolve);
      client.once("error", reject);
      client.once("close", () => reject(link.error ?? new Error("the connection ended before its CONNACK")));
    }).catch((error) => {
      client.end(true);
      throw error;
    });
    return link;
  }

  look() {
    for (const waiter of [...this.waiting]) waiter();
  }

  /** Waits until `found` returns something. */
  until(what, found) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.waiting.delete(look);
        const left = JSON.stringify(this.messages.map(({ topic, text }) => [topic, text.slice(0, 80)]));
        reject(new Error(`${what} did not come within ${DEADLINE_MS} ms; there are ${left}`));
      }, DEADLINE_MS);
      const look = () => {
        const value = found();
        if (value === undefined) return;
        clearTimeout(late);
        this.waiting.delete(look);
        resolve(value);
      };
      this.waiting.add(look);
      look();
    });
  }

  /** The oldest message of this topic, removed. */
  heard(topic) {
    return this.until(topic, () => {
      const place = this.messages.findIndex((message) => message.topic === topic);
      return place < 0 ? undefined : this.messages.splice(place, 1)[0];
    });
  }

  /** The same, as JSON. */
  async json(topic) {
    return JSON.parse((await this.heard(topic)).text);
  }

  /** Subscribes with QoS 1; throws when a filter is refused. */
  async subscribe(...filters) {
    const granted = await this.client.subscribeAsync(filters, { qos: 1 });
    const refused = granted.filter(({ qos }) => qos >= 128);
    if (refused.length) throw new Error(`refused: ${JSON.stringify(refused)}`);
    return granted.map(({ qos }) => qos);
  }

  /** Publishes with QoS 1 and waits for the PUBACK. */
  publish(topic, payload, more = {}) {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    return this.client.publishAsync(topic, text, { qos: 1, ...more });
  }

  /** A request and its answer: the last level of the answer's topic, and the answer. */
  async ask(topic, payload) {
    await this.publish(topic, payload);
    const ends = [`${topic}/accepted`, `${topic}/rejected`];
    const message = await this.until(`an answer to ${topic}`, () => {
      const place = this.messages.findIndex((one) => ends.includes(one.topic));
      return place < 0 ? undefined : this.messages.splice(place, 1)[0];
    });
    return [message.topic.split("/").pop(), JSON.parse(message.text)];
  }

  /** The protocol that TLS agreed on. */
  alpn() {
    return (this.socket ?? this.client.stream).alpnProtocol;
  }

  /** Breaks the connection without a word. */
  cut() {
    (this.socket ?? this.client.stream).destroy();
  }

  /** Waits until the connection has ended. */
  lost() {
    return this.until("the end of the connection", () => (this.ended ? true : undefined));
  }

  /** Ends the connection in good order. */
  close() {
    return this.client.endAsync(this.ended);
  }
}

/** Runs the checks in the order of their registration. */
async function main() {
  const text = { type: "string" };
  const options = { host: text, port: text, mqtt: text, muster: text, data: text, work: text, only: text };
  const { values } = parseArgs({ options });
  const fleet = new Fleet(values);
  let failed = 0;
  for (const { name, run } of checks) {
    if (!name.includes(values.only ?? "")) continue;
    const links = [];
    const open = async (thing, settings) => {
      const link = await Link.open(fleet, thing, settings);
      links.push(link);
      return link;
    };
    try {
      await run(fleet, open);
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${name} ${String(error).replace(/\s+/g, " ")}`);
      console.error(error);
    }
    await Promise.all(links.map((link) => link.close()));
  }
  process.exitCode = failed ? 1 : 0;
}

module.exports = { check, main, unique };
