// Dapr's JavaScript SDK against a running daprd (ports in DAPR_HTTP_PORT and DAPR_GRPC_PORT).
import assert from "node:assert/strict";
import { test } from "node:test";
import dapr from "@dapr/dapr";

const { DaprClient, CommunicationProtocolEnum, HttpMethod } = dapr;

const clients = {
  http: () => new DaprClient({ daprPort: process.env.DAPR_HTTP_PORT, communicationProtocol: CommunicationProtocolEnum.HTTP }),
  grpc: () => new DaprClient({ daprPort: process.env.DAPR_GRPC_PORT, communicationProtocol: CommunicationProtocolEnum.GRPC }),
};

for (const [protocol, connect] of Object.entries(clients)) {
  test(`${protocol}: state`, async () => {
    const client = connect();
    const key = `${protocol}-key`;
    const saved = await client.state.save("store", [
      { key, value: { a: [1, "two"] } },
      { key: `${key}-2`, value: "text" },
    ]);
    assert.equal(saved.error, undefined);
    assert.deepEqual(await client.state.get("store", key), { a: [1, "two"] });
    const bulk = await client.state.getBulk("store", [key, `${key}-2`]);
    assert.deepEqual(bulk.map((item) => item.key).sort(), [key, `${key}-2`].sort());
    await client.state.transaction("store", [
      { operation: "upsert", request: { key: `${key}-3`, value: "third" } },
      { operation: "delete", request: { key: `${key}-2` } },
    ]);
    assert.equal(await client.state.get("store", `${key}-3`), "third");
    assert.equal(await client.state.get("store", `${key}-2`), "");
    await client.state.delete("store", key);
    assert.equal(await client.state.get("store", key), "");
    await client.stop();
  });

  test(`${protocol}: secrets`, async () => {
    const client = connect();
    assert.deepEqual(await client.secret.get("vault", "plain"), { plain: "s3cret" });
    const all = await client.secret.getBulk("vault");
    assert.ok(Object.keys(all).length >= 3 || all.data);
    await client.stop();
  });

  test(`${protocol}: metadata`, async () => {
    const client = connect();
    assert.equal(await client.metadata.set("language", "js"), true);
    const metadata = await client.metadata.get();
    assert.equal(metadata.id, "js-caller");
    assert.equal(await client.health.isHealthy(), true);
    await client.stop();
  });
}

test("http: invocation", async () => {
  const client = clients.http();
  const answer = await client.invoker.invoke("js-callee", "hello?x=1", HttpMethod.GET);
  assert.deepEqual(answer, { verb: "GET", query: "x=1" });
  await client.stop();
});
