"use strict";
// The MQTT server as MQTT.js meets it, over TCP and over WebSocket: what a program for Node or a dashboard in a browser
// does with it.

const assert = require("node:assert/strict");
const { check, main, unique } = require("./harness.js");

const NOT_AUTHORIZED = 0x87;
const shadow = (thing) => `$aws/things/${thing}/shadow`;

for (const [way, web] of [
  ["TCP", false],
  ["WebSocket", true],
]) {
  check(`S1 S2 S7 over ${way}: a shadow is updated, read and deleted, and its delta is told`, async (fleet, open) => {
    const thing = await fleet.named();
    for (const base of [shadow(thing), `${shadow(thing)}/name/settings`]) {
      const device = await open(thing, { web });
      await device.subscribe(`${base}/get/+`, `${base}/update/+`, `${base}/delete/+`);
      let [end, answer] = await device.ask(`${base}/get`, { clientToken: "t" });
      assert.deepEqual([end, answer.code, answer.clientToken], ["rejected", 404, "t"]);

      [end, answer] = await device.ask(`${base}/update`, { state: { reported: { colour: "red" } } });
      assert.deepEqual([end, answer.version, answer.state], ["accepted", 1, { reported: { colour: "red" } }]);
      [end, answer] = await device.ask(`${base}/update`, { state: { desired: { colour: "blue" } } });
      assert.deepEqual([end, answer.version], ["accepted", 2]);
      const delta = await device.json(`${base}/update/delta`);
      assert.deepEqual([delta.version, delta.state], [2, { colour: "blue" }]);
      const first = await device.json(`${base}/update/documents`);
      assert.deepEqual([first.current.version, first.current.state], [1, { reported: { colour: "red" } }]);

      [end, answer] = await device.ask(`${base}/update`, { state: { desired: { colour: "green" } }, version: 1 });
      assert.deepEqual([end, answer.code, answer.message], ["rejected", 409, "Version conflict"]);
      [end, answer] = await device.ask(`${base}/get`, {});
      const state = { desired: { colour: "blue" }, reported: { colour: "red" }, delta: { colour: "blue" } };
      assert.deepEqual([end, answer.version, answer.state], ["accepted", 2, state]);

      [end, answer] = await device.ask(`${base}/delete`, {});
      assert.deepEqual([end, answer.version], ["accepted", 2]);
      [end, answer] = await device.ask(`${base}/get`, {});
      assert.deepEqual([end, answer.code], ["rejected", 404]);
    }
  });

  check(`B5 over ${way}: a retained message comes to exact filters alone, and an empty one removes it`, async (fleet, open) => {
    const thing = await fleet.named();
    const topic = `app/${thing}/state`;
    const link = await open(thing, { web });
    await link.publish(topic, "1", { retain: true });
    await link.subscribe(`app/${thing}/+`);
    await link.subscribe(topic);
    const message = await link.heard(topic);
    assert.deepEqual([message.text, message.retain], ["1", true]);
    await link.publish(topic, "", { retain: true });
    assert.equal((await link.heard(topic)).text, "");
    const late = await open(thing, { web });
    await late.subscribe(topic);
    await late.publish(topic, "live");
    assert.deepEqual([(await late.heard(topic)).text, late.messages.length], ["live", 0]);
  });

  check(`B16 over ${way}: the will is heard when the connection breaks and not after a goodbye`, async (fleet, open) => {
    const thing = await fleet.named();
    const topic = `app/${thing}/will`;
    const listener = await open(thing);
    await listener.subscribe(topic);
    const polite = await open(thing, { web, will: { topic, payload: "unsaid", qos: 1 } });
    await polite.close();
    const rude = await open(thing, { web, will: { topic, payload: "said", qos: 1 } });
    rude.cut();
    assert.equal((await listener.heard(topic)).text, "said");
  });

  check(`B7 over ${way}: a session is kept with its subscriptions and with what was said meanwhile`, async (fleet, open) => {
    const thing = await fleet.named();
    const topic = `app/${thing}/n`;
    const kept = { web, clientId: `kept-${unique()}`, clean: false };
    if (fleet.version === 5) kept.properties = { sessionExpiryInterval: 3600 };
    const first = await open(thing, kept);
    assert.equal(first.connack.sessionPresent, false);
    await first.subscribe(`app/${thing}/#`);
    await first.close();
    const speaker = await open(thing);
    for (const number of ["0", "1", "2"]) await speaker.publish(topic, number);
    const again = await open(thing, kept);
    assert.equal(again.connack.sessionPresent, true);
    const heard = [];
    for (let count = 0; count < 3; count += 1) heard.push((await again.heard(topic)).text);
    assert.deepEqual(heard, ["0", "1", "2"]);
  });

  check(`over ${way}: after a cut the client returns by itself, subscribed as it was`, async (fleet, open) => {
    const thing = await fleet.named();
    const topic = `app/${thing}/x`;
    const link = await open(thing, { web, reconnectPeriod: 50 });
    await link.subscribe(topic);
    link.cut();
    await link.until("the connection that MQTT.js makes anew", () => (link.comebacks === 1 ? true : undefined));
    // MQTT.js subscribes before it says that it is connected, and the server reads in order.
    await link.publish(topic, "here again");
    assert.equal((await link.heard(topic)).text, "here again");
  });

  check(`B6 over ${way}: a group shares its messages`, async (fleet, open) => {
    const thing = await fleet.named();
    const members = [await open(thing, { web }), await open(thing, { web })];
    const speaker = await open(thing, { web });
    for (const member of members) assert.deepEqual(await member.subscribe(`$share/workers/app/${thing}/#`), [1]);
    for (const number of ["0", "1", "2", "3"]) await speaker.publish(`app/${thing}/work`, number);
    const heard = [];
    for (const member of members) {
      for (let count = 0; count < 2; count += 1) heard.push((await member.heard(`app/${thing}/work`)).text);
    }
    assert.deepEqual(heard.sort(), ["0", "1", "2", "3"]);
  });

  check(`B12 over ${way}: an observer reads views, presence and shadows with wildcards, and changes nothing`, async (fleet, open) => {
    const [thing, observer] = [await fleet.named(), await fleet.named("observer")];
    await fleet.muster("connector", "add", thing);
    const wall = await open(observer, { web });
    await wall.subscribe("$aws/events/presence/#", "$aws/things/+/shadow/#", "muster/view/connectors/+");
    const view = await wall.heard(`muster/view/connectors/${thing}`);
    assert.deepEqual([view.retain, JSON.parse(view.text).link], [true, "never"]);
    const device = await open(thing, { clientId: `device-${unique()}` });
    const { clientId } = device.client.options;
    const came = await wall.json(`$aws/events/presence/connected/${clientId}`);
    assert.deepEqual([came.clientId, came.thingName, came.eventType], [clientId, thing, "connected"]);
    await device.subscribe(`${shadow(thing)}/update/+`);
    await device.ask(`${shadow(thing)}/update`, { state: { reported: { on: true } } });
    const told = await wall.json(`${shadow(thing)}/update/documents`);
    assert.deepEqual(told.current.state, { reported: { on: true } });
    await device.close();
    const went = await wall.json(`$aws/events/presence/disconnected/${clientId}`);
    assert.deepEqual([went.eventType, went.clientInitiatedDisconnect], ["disconnected", true]);
    assert.deepEqual([went.sessionIdentifier, went.versionNumber], [came.sessionIdentifier, came.versionNumber]);
    await refusedPublish(wall, `${shadow(thing)}/update`);
  });

  check(`B10 over ${way}: another thing's topics are refused`, async (fleet, open) => {
    const [thing, other] = [await fleet.named(), await fleet.named()];
    await refusedPublish(await open(thing, { web }), `${shadow(other)}/update`);
    const link = await open(thing, { web });
    const refused = link.subscribe(`${shadow(other)}/#`);
    if (fleet.version === 5) {
      await assert.rejects(refused, ({ packet }) => packet.granted[0] === NOT_AUTHORIZED);
      assert.deepEqual(await link.subscribe(`${shadow(thing)}/get/+`), [1]);
    } else {
      refused.catch(() => {});
      await link.lost();
    }
  });
}

/** A publish is refused: by its PUBACK with MQTT 5, by the end of the connection with MQTT 3.1.1. */
async function refusedPublish(link, topic) {
  const published = link.publish(topic, { state: {} });
  if (link.client.options.protocolVersion === 5) {
    await assert.rejects(published, { code: NOT_AUTHORIZED });
  } else {
    published.catch(() => {});
    await link.lost();
  }
}

check("B14 TLS agrees on the protocols that clients and browsers offer", async (fleet, open) => {
  const thing = await fleet.named();
  for (const [web, offered, agreed] of [
    [false, ["x-amzn-mqtt-ca"], "x-amzn-mqtt-ca"],
    [false, ["mqtt"], "mqtt"],
    [false, undefined, false],
    [true, ["http/1.1"], "http/1.1"],
    [true, ["h2", "http/1.1"], "http/1.1"],
  ]) {
    const link = await open(thing, { web, alpn: offered });
    assert.equal(link.alpn(), agreed, `${offered}`);
    assert.deepEqual(await link.subscribe(`${shadow(thing)}/get/+`), [1]);
    await link.close();
  }
});

check("B8 B9 what MQTT 5 says beside the payload reaches MQTT 5, and the payload reaches both", async (fleet, open) => {
  const thing = await fleet.named();
  const topic = `app/${thing}/x`;
  const listeners = [await open(thing, { protocolVersion: 5 }), await open(thing, { protocolVersion: 4, web: true })];
  for (const listener of listeners) await listener.subscribe(topic);
  const speaker = await open(thing);
  const properties = {
    contentType: "text/plain",
    responseTopic: `app/${thing}/r`,
    correlationData: Buffer.from("7"),
    messageExpiryInterval: 1000,
    userProperties: { k: ["1", "2"] },
  };
  await speaker.publish(topic, "x", fleet.version === 5 ? { properties } : {});
  const [newer, older] = [await listeners[0].heard(topic), await listeners[1].heard(topic)];
  assert.deepEqual([newer.text, older.text], ["x", "x"]);
  if (fleet.version === 5) {
    const told = newer.properties;
    assert.deepEqual([told.contentType, told.responseTopic], ["text/plain", `app/${thing}/r`]);
    assert.deepEqual([told.correlationData.toString(), { ...told.userProperties }], ["7", { k: ["1", "2"] }]);
    assert.ok(told.messageExpiryInterval >= 900 && told.messageExpiryInterval <= 1000, "the rest of the message's life");
  }
});

check("B1 a client of MQTT 5 is told what there is, and what it asks for beside that", async (fleet, open) => {
  const thing = await fleet.named();
  const link = await open(thing, { protocolVersion: 5 });
  const told = link.connack.properties;
  assert.deepEqual([told.maximumQoS, told.receiveMaximum, told.topicAliasMaximum, told.retainAvailable], [1, 100, 8, true]);
  assert.deepEqual([told.wildcardSubscriptionAvailable, told.sharedSubscriptionAvailable], [true, true]);
  assert.equal(told.subscriptionIdentifiersAvailable, false);
  const codes = {};
  link.client.on("packetreceive", ({ cmd, granted, reasonCode }) => {
    codes[cmd] = granted ?? reasonCode;
  });
  await link.client.unsubscribeAsync(`app/${thing}/never`);
  assert.deepEqual(codes.unsuback, [0x11]);
  for (const topic of [`${shadow(thing)}/name/a b/get`, `$aws/things/${thing}/jobs/a.b/get`]) {
    await assert.rejects(link.publish(topic, {}), { code: 0x90 });
  }
  link.client.subscribe(`app/${thing}/x`, { qos: 1, properties: { subscriptionIdentifier: 3 } }, () => {});
  await link.lost();
  assert.equal(codes.disconnect, 0xa1);
});

check("B6 the server has a thousand groups at one time", async (fleet, open) => {
  const links = [];
  for (let thing = 0; thing < 5; thing += 1) {
    const name = await fleet.named();
    for (let count = 0; count < 4; count += 1) links.push([await open(name, { protocolVersion: 5 }), `app/${name}/x`]);
  }
  await Promise.all(
    links.map(async ([link, topic], number) => {
      for (let group = 0; group < 50; group += 5) {
        const filters = [0, 1, 2, 3, 4].map((one) => `$share/g-${number}-${group + one}/${topic}`);
        assert.deepEqual(await link.subscribe(...filters), [1, 1, 1, 1, 1]);
      }
    }),
  );
  const one = await fleet.named();
  const late = await open(one, { protocolVersion: 5 });
  await assert.rejects(late.subscribe(`$share/late/app/${one}/x`), ({ packet }) => packet.granted[0] === 0x97);
  await links[0][0].client.unsubscribeAsync(`$share/g-0-0/${links[0][1]}`);
  await late.subscribe(`$share/late/app/${one}/x`);
});

check("a client without a certificate is refused, and a server of another authority is not trusted", async (fleet, open) => {
  const thing = await fleet.named();
  for (const web of [false, true]) {
    await assert.rejects(open(thing, { web, cert: undefined, key: undefined }), "a client without a certificate");
    await assert.rejects(open(thing, { web, ca: [] }), { code: /UNABLE_TO_VERIFY|SELF_SIGNED/ });
  }
});

main();
