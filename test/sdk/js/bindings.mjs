// Dapr's JavaScript SDK against a running daprd with the bindings of bindings_test.go.
import assert from "node:assert/strict";
import { test } from "node:test";
import dapr from "@dapr/dapr";

const { DaprClient, CommunicationProtocolEnum } = dapr;

const clients = {
  http: () => new DaprClient({ daprPort: process.env.DAPR_HTTP_PORT, communicationProtocol: CommunicationProtocolEnum.HTTP }),
  grpc: () => new DaprClient({ daprPort: process.env.DAPR_GRPC_PORT, communicationProtocol: CommunicationProtocolEnum.GRPC }),
};

const text = (answer) => (answer?.data !== undefined ? Buffer.from(answer.data, "base64").toString() : answer);

for (const [protocol, connect] of Object.entries(clients)) {
  test(`${protocol}: output bindings`, async () => {
    const client = connect();
    const file = { fileName: `${protocol}/file` };
    await client.binding.send("files", "create", { a: [1, "two"] }, file);
    const stored = await client.binding.send("files", "get", "", file);
    assert.match(JSON.stringify(stored ?? null) + String(text(stored)), /two/);
    await client.binding.send("files", "delete", "", file);
    await assert.rejects(client.binding.send("nope", "create", "x"));
    await client.stop();
  });
}
