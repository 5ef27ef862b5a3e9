// Dapr's JavaScript SDK against a running daprd with the stores (their Redis on REDIS_PORT) and keys of stores_test.go.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import dapr from "@dapr/dapr";

const { DaprClient, CommunicationProtocolEnum } = dapr;

const clients = {
  http: () => new DaprClient({ daprPort: process.env.DAPR_HTTP_PORT, communicationProtocol: CommunicationProtocolEnum.HTTP }),
  grpc: () => new DaprClient({ daprPort: process.env.DAPR_GRPC_PORT, communicationProtocol: CommunicationProtocolEnum.GRPC }),
};

const set = (key, text) => execFileSync("redis-cli", ["-e", "-p", process.env.REDIS_PORT, "SET", key, text]);

// The SDK has configuration over gRPC only.
test("grpc: configuration", async () => {
  const client = clients.grpc();
  set("colour", "green||v1");
  set("size", "large");
  const item = (key, value, version) => ({ [key]: { key, value, version, metadata: {} } });
  assert.deepEqual((await client.configuration.get("config", ["colour", "absent"])).items, item("colour", "green", "v1"));
  assert.deepEqual((await client.configuration.get("config", [])).items, { ...item("colour", "green", "v1"), ...item("size", "large", "") });
  await assert.rejects(client.configuration.get("nope", ["colour"]), /configuration store nope not found/);

  // watch subscribes and gives what was told. The SDK does not tell when the subscription stands: it does once a
  // write of key is told.
  const watch = async (key, subscribe) => {
    const told = [];
    const subscription = await subscribe(async ({ items }) => void told.push(items));
    for (let i = 0; told.length === 0; i++) {
      set(key, `try ${i}`);
      await pause(10);
    }
    return { told, stop: () => subscription.stop() };
  };
  const until = async (told, want) => {
    while (JSON.stringify(told.at(-1)) !== JSON.stringify(want)) await pause(10);
  };
  const some = await watch("colour", (cb) => client.configuration.subscribeWithKeys("config", ["colour"], cb));
  const all = await watch("size", (cb) => client.configuration.subscribe("config", cb));
  set("colour", "red||v2");
  await until(some.told, item("colour", "red", "v2"));
  await until(all.told, item("colour", "red", "v2"));
  set("size", "small");
  await until(all.told, item("size", "small", ""));
  await some.stop();
  const count = some.told.length;
  set("colour", "blue||v3");
  await until(all.told, item("colour", "blue", "v3"));
  assert.equal(some.told.length, count);
  assert.ok(some.told.every((items) => Object.keys(items).join() === "colour"), JSON.stringify(some.told));
  await all.stop();
  await client.stop();
});

for (const [protocol, connect] of Object.entries(clients)) {
  test(`${protocol}: lock`, async () => {
    const client = connect();
    const resource = `${protocol}-door`;
    const statuses = { success: 0, absent: 1, others: 2 };
    const lock = async (owner, seconds = 60) => (await client.lock.lock("locks", resource, owner, seconds)).success;
    const unlock = async (owner) => (await client.lock.unlock("locks", resource, owner)).status;
    assert.equal(await unlock("ada"), statuses.absent);
    assert.equal(await lock("ada"), true);
    assert.equal(await lock("bob"), false);
    assert.equal(await unlock("bob"), statuses.others);
    assert.equal(await unlock("ada"), statuses.success);
    assert.equal(await lock("bob", 1), true);
    while (!(await lock("ada"))) await pause(10);
    await assert.rejects(client.lock.lock("nope", resource, "ada", 60), /lock store nope not found/);
    await client.stop();
  });
}

// The SDK has cryptography over gRPC only.
test("grpc: crypto", async () => {
  const client = clients.grpc();
  const plain = Buffer.alloc(100_000, "some words that are not to be read by others. ");
  for (const [keyName, keyWrapAlgorithm] of Object.entries({ "files.key": "A256KW", "mail.pem": "RSA-OAEP-256" })) {
    const options = { componentName: "keys", keyName, keyWrapAlgorithm };
    const document = await client.crypto.encrypt(plain, options);
    assert.equal(document.includes("some words"), false);
    assert.ok(plain.equals(await client.crypto.decrypt(document, { componentName: "keys" })));

    // through sends data into a stream, in two pieces, and gives what comes out of it.
    const through = async (stream, data) => {
      stream.write(data.subarray(0, 5000));
      stream.end(data.subarray(5000));
      return buffer(stream);
    };
    const streamed = await through(await client.crypto.encrypt(options), plain);
    assert.ok(plain.equals(await through(await client.crypto.decrypt({ componentName: "keys" }), streamed)));

    document[document.length - 1] ^= 1;
    await assert.rejects(client.crypto.decrypt(document, { componentName: "keys" }));
  }
  const nameless = await client.crypto.encrypt("a text", {
    componentName: "keys",
    keyName: "files.key",
    keyWrapAlgorithm: "A256KW",
    omitDecryptionKeyName: true,
  });
  await assert.rejects(client.crypto.decrypt(nameless, { componentName: "keys" }));
  assert.equal((await client.crypto.decrypt(nameless, { componentName: "keys", keyName: "files.key" })).toString(), "a text");
  await assert.rejects(client.crypto.encrypt("x", { componentName: "nope", keyName: "files.key", keyWrapAlgorithm: "A256KW" }), /nope/);
  await client.stop();
});
