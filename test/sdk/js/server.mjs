// An application of Dapr's JavaScript SDK (protocol in PROTOCOL, port in APP_PORT) beside a running daprd with
// the brokers of pubsub_test.go and the bindings of bindings_test.go; it publishes what it takes itself.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import dapr from "@dapr/dapr";

const { DaprServer, DaprPubSubStatusEnum, CommunicationProtocolEnum } = dapr;

const http = process.env.PROTOCOL === "http";
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol: http ? CommunicationProtocolEnum.HTTP : CommunicationProtocolEnum.GRPC,
  clientOptions: { daprHost: "127.0.0.1", daprPort: http ? process.env.DAPR_HTTP_PORT : process.env.DAPR_GRPC_PORT },
});
const { pubsub, client } = server;

// Inbox holds what a handler was given until it is asked for.
class Inbox {
  #waiting = [];
  #come = [];
  put(data) {
    const take = this.#waiting.shift();
    take ? take(data) : this.#come.push(data);
  }
  next() {
    return this.#come.length > 0 ? Promise.resolve(this.#come.shift()) : new Promise((take) => this.#waiting.push(take));
  }
  async expect(...wanted) {
    for (const want of wanted) assert.deepEqual(await this.next(), want);
  }
  // expectAll takes them in any order.
  async expectAll(...wanted) {
    const come = [];
    for (const _ of wanted) come.push(JSON.stringify(await this.next()));
    assert.deepEqual(come.sort(), wanted.map((want) => JSON.stringify(want)).sort());
  }
}

// handler puts what comes into an inbox and answers with what say gives for each attempt of the same data.
const handler = (inbox, say = () => undefined) => {
  const attempts = {};
  return async (data) => {
    const key = JSON.stringify(data);
    attempts[key] = (attempts[key] ?? 0) + 1;
    inbox.put(data);
    return say(data, attempts[key]);
  };
};
const retryOnce = (_, attempt) => (attempt === 1 ? DaprPubSubStatusEnum.RETRY : DaprPubSubStatusEnum.SUCCESS);

const ticks = new Inbox();
const brokers = Object.fromEntries(["memory", "redis"].map((broker) => [broker, {}]));

const subscribe = async (broker, inboxes) => {
  const inbox = (name) => (inboxes[name] = new Inbox());
  await pubsub.subscribe(broker, "events", handler(inbox("events")));
  await pubsub.subscribe(broker, "raw", handler(inbox("raw")), "/raw", { rawPayload: true });
  await pubsub.subscribe(broker, "unsteady", handler(inbox("unsteady"), retryOnce));
  await pubsub.subscribe(broker, "dropping", handler(inbox("dropping"), () => DaprPubSubStatusEnum.DROP));

  await pubsub.subscribeWithOptions(broker, "routed", {
    route: {
      default: "/rest",
      rules: [
        { match: `event.type == "urgent"`, path: "/urgent" },
        { match: `event.data.amount > 100`, path: "/large" },
      ],
    },
  });
  for (const route of ["rest", "urgent", "large"]) pubsub.subscribeToRoute(broker, "routed", `/${route}`, handler(inbox(route)));

  // deadLetterCallback only serves a route: the SDK leaves the subscription to the dead letter topic to the application.
  await pubsub.subscribeWithOptions(broker, "poison", {
    callback: handler(inbox("poison"), () => DaprPubSubStatusEnum.RETRY),
    deadLetterTopic: "dead",
    metadata: { maxDeliveryAttempts: 2 },
  });
  await pubsub.subscribeWithOptions(broker, "unwanted", {
    callback: handler(inbox("unwanted"), () => DaprPubSubStatusEnum.DROP),
    deadLetterTopic: "dead",
  });
  await pubsub.subscribe(broker, "dead", handler(inbox("dead")));

  await pubsub.subscribeBulk(
    broker,
    "bulk",
    handler(inbox("bulk"), (data, attempt) => (data === "later" ? retryOnce(data, attempt) : DaprPubSubStatusEnum.SUCCESS)),
    { maxMessagesCount: 10, maxAwaitDurationMs: 20 },
  );
};

before(async () => {
  for (const [broker, inboxes] of Object.entries(brokers)) await subscribe(broker, inboxes);
  await server.binding.receive("tick", handler(ticks));
  await server.start();
  const health = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0/healthz`;
  while ((await fetch(health)).status !== 204) await pause(10);
});

after(async () => {
  // daprd lets go of its connections first: a gRPC server of the SDK waits for them.
  await client.sidecar.shutdown();
  await server.stop();
  await client.stop();
});

for (const [broker, inboxes] of Object.entries(brokers)) {
  const publish = async (topic, data, options) => assert.deepEqual(await client.pubsub.publish(broker, topic, data, options), {});

  test(`${broker}: publish`, async () => {
    await publish("events", "plain words");
    await inboxes.events.expect("plain words");
    await publish("events", { a: [1, "two", null] });
    await inboxes.events.expect({ a: [1, "two", null] });
    await publish("events", Buffer.from("some bytes"));
    await inboxes.events.expect("some bytes");
    await publish("events", "<a/>", { contentType: "application/xml" });
    await inboxes.events.expect("<a/>");
    const event = { specversion: "1.0", id: "own", source: "test", type: "made.by.hand", datacontenttype: "text/plain", data: "of an event" };
    await publish("events", event);
    await inboxes.events.expect("of an event");
    await publish("raw", { not: "wrapped" }, { metadata: { rawPayload: "true" } });
    await inboxes.raw.expect({ not: "wrapped" });
  });

  test(`${broker}: publishBulk`, async () => {
    const messages = ["words", { an: "object" }, { entryID: "mine", event: { a: 1 }, contentType: "application/json" }];
    assert.deepEqual(await client.pubsub.publishBulk(broker, "events", messages), { failedMessages: [] });
    await inboxes.events.expectAll("words", { an: "object" }, { a: 1 });
  });

  test(`${broker}: subscribeBulk`, async () => {
    const messages = ["first", "later", { third: 3 }];
    assert.deepEqual(await client.pubsub.publishBulk(broker, "bulk", messages), { failedMessages: [] });
    await inboxes.bulk.expectAll("first", "later", { third: 3 }, "later");
    await publish("bulk", "last");
    await inboxes.bulk.expect("last");
  });

  test(`${broker}: routes`, async () => {
    await publish("routed", { amount: 1 });
    await publish("routed", { amount: 200 });
    await publish("routed", { amount: 300 }, { metadata: { "cloudevent.type": "urgent" } });
    await inboxes.rest.expect({ amount: 1 });
    await inboxes.large.expect({ amount: 200 });
    await inboxes.urgent.expect({ amount: 300 });
  });

  test(`${broker}: statuses and dead letters`, async () => {
    for (const topic of ["unsteady", "dropping", "poison", "unwanted"])
      for (const data of [`${topic} first`, `${topic} second`]) await publish(topic, data);
    // The brokers keep the order: an event that failed comes again before its successor.
    await inboxes.unsteady.expect("unsteady first", "unsteady first", "unsteady second", "unsteady second");
    await inboxes.dropping.expect("dropping first", "dropping second");
    await inboxes.poison.expect("poison first", "poison first", "poison second", "poison second");
    await inboxes.unwanted.expect("unwanted first", "unwanted second");
    await inboxes.dead.expectAll("poison first", "poison second", "unwanted first", "unwanted second");
  });
}

test("an unknown broker", async () => {
  // Over HTTP the SDK gives the error, over gRPC it throws it.
  const { error } = await client.pubsub.publish("nope", "events", "x").catch((thrown) => thrown);
  assert.match(String(error.message), /pubsub nope is not found/);
  const { failedMessages } = await client.pubsub.publishBulk("nope", "events", ["x", "y"]);
  assert.equal(failedMessages.length, 2);
});

test("an input binding", async () => {
  const event = await ticks.next();
  assert.ok(event === "" || Object.keys(event).length === 0, JSON.stringify(event));
});
