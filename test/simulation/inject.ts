import { CodedError } from "../../domain/errors.js";
import type { FaultKind, Swarm } from "./faults.js";
import type { Pod, World } from "./world.js";

/** Lets faults of the swarm's kinds happen to a world until it is healed. */
export function injectFaults(world: World, { kinds, everyMs }: Swarm): void {
  if (kinds.length === 0) return;
  const next = (): void => {
    // Waits between 0 and twice the mean.
    world.clock.after(world.random.below(2 * everyMs) + 1, () => {
      if (world.isQuiet) return;
      inject(world, kinds[world.random.below(kinds.length)]!);
      next();
    });
  };
  next();
}

function inject(world: World, kind: FaultKind): void {
  const { network, random, clock } = world;
  network.count(kind);
  const between = (least: number, most: number): number => least + random.below(most - least + 1);
  const oneOf = (...roles: Pod["role"][]): Pod | undefined => {
    const pods = world.pods.filter((pod) => roles.includes(pod.role) && pod.process?.isAlive === true && !pod.isDone);
    return pods[random.below(Math.max(1, pods.length))];
  };
  const part = (a: string, b: string): void => {
    const durationMs = random.below(4) === 0 ? between(20_000, 100_000) : between(200, 10_000);
    world.note(`part ${a} and ${b} for ${durationMs} ms`);
    network.part(a, b);
    clock.after(durationMs, () => network.join(a, b));
  };
  const takeDown = (host: string): void => {
    const durationMs = between(500, 15_000);
    world.note(`${host} is down for ${durationMs} ms`);
    network.takeDown(host);
    clock.after(durationMs, () => network.bringUp(host));
  };

  switch (kind) {
    case "kill an extractor":
    case "kill a trainer": {
      const pod = oneOf(kind === "kill a trainer" ? "trainer" : "extractor");
      if (pod !== undefined) world.kill(pod, between(500, 20_000));
      return;
    }
    case "kill all trainers":
      for (const pod of world.pods) if (pod.role === "trainer") world.kill(pod, between(500, 20_000));
      return;
    case "stop a worker": {
      const process = oneOf("extractor", "trainer")?.process;
      if (process === undefined) return;
      world.note(`stop ${process.name}`);
      process.stop.abort(new CodedError("INTERRUPTED", "SIGTERM"));
      return;
    }
    case "freeze a worker":
    case "freeze a worker for long": {
      const process = oneOf("extractor", "trainer")?.process;
      if (process !== undefined) world.freeze(process, kind === "freeze a worker" ? between(100, 8_000) : between(15_000, 100_000));
      return;
    }
    case "kill the coordinator":
      return world.kill(world.pods[0]!, between(500, 30_000));
    case "replace the coordinator, which was paused":
      return world.replaceCoordinator(between(2_000, 40_000));
    case "part a worker from the coordinator":
    case "part a worker from the store": {
      const pod = oneOf("extractor", "trainer");
      if (pod !== undefined) part(pod.host, kind === "part a worker from the store" ? "store" : "coordinator");
      return;
    }
    case "part a trainer from the bus": {
      const pod = oneOf("trainer");
      if (pod !== undefined) part(pod.host, "bus");
      return;
    }
    case "part two trainers": {
      const [a, b] = [oneOf("trainer"), oneOf("trainer")];
      if (a !== undefined && b !== undefined && a !== b) part(a.host, b.host);
      return;
    }
    case "store down":
      return takeDown("store");
    case "bus down":
      return takeDown("bus");
  }
}
