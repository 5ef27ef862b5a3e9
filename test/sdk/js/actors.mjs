// Actors of Dapr's JavaScript SDK (port in APP_PORT) beside a running daprd with a state store for actors.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import dapr from "@dapr/dapr";

const { DaprServer, CommunicationProtocolEnum, AbstractActor, ActorId, ActorProxyBuilder, Temporal } = dapr;

const clientOptions = { daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT, communicationProtocol: CommunicationProtocolEnum.HTTP };
const server = new DaprServer({ serverHost: "127.0.0.1", serverPort: process.env.APP_PORT, clientOptions });

const ticked = [];
let tick = () => {};
const life = [];

class Counter extends AbstractActor {
  async onActivate() {
    life.push(`on ${this.getActorId().getId()}`);
  }
  async add(n) {
    const [found, value] = await this.getStateManager().tryGetState("count");
    const sum = (found ? value : 0) + n;
    await this.getStateManager().setState("count", sum);
    return sum;
  }
  async busy() {
    const state = this.getStateManager();
    const value = (await state.getOrAddState("turns", 0)) ?? 0;
    await new Promise((take) => setImmediate(take));
    await state.setState("turns", value + 1);
    return value + 1;
  }
  async fail() {
    throw new Error("on purpose");
  }
  async start() {
    await super.registerActorTimer("t", "onTick", Temporal.Duration.from({ milliseconds: 10 }), Temporal.Duration.from({ seconds: 60 }), undefined, "data");
  }
  async onTick(data) {
    ticked.push(data);
    tick();
  }
}

const proxy = (id) => new ActorProxyBuilder(Counter, server.client).build(new ActorId(id));

before(async () => {
  await server.actor.init();
  await server.actor.registerActor(Counter);
  await server.start();
});
after(() => server.stop());

test("state is kept", async () => {
  assert.equal(await proxy("a").add(2), 2);
  assert.equal(await proxy("a").add(3), 5);
  assert.equal(await proxy("b").add(1), 1);
  assert.deepEqual(life.filter((line) => line === "on a"), ["on a"]);
});

test("turns are taken one after another", async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => proxy("turns").busy()));
  assert.deepEqual(all.sort((x, y) => x - y), Array.from({ length: 20 }, (_, i) => i + 1));
});

test("a method that fails says so", async () => {
  await assert.rejects(proxy("a").fail());
});

test("timers tick", async () => {
  const come = new Promise((take) => (tick = take));
  await proxy("a").start();
  await come;
  assert.equal(ticked.length, 1);
});
