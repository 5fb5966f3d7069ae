import assert from "node:assert";
import { describe, test } from "vitest";
import { chooseTrainers } from "./choose-trainers.js";

describe("chooseTrainers", () => {
  const question = {
    wanted: { min: 1, max: 16 },
    grains: 8,
    parameters: 130_662,
    millisecondsPerStep: 1.2,
    exchangeBytesPerSecond: 330e6,
    local: false,
  };

  test("takes one where the exchange costs more than it saves, and says so", () => {
    const choice = chooseTrainers(question);
    assert.equal(choice.trainers, 1);
    assert.equal(choice.exchangeBytesPerStep, 0);
    assert.equal(
      choice.reason,
      "a step takes 1.20 ms of computing + 0.00 ms of exchange; with 2: 0.60 ms of computing + 5.17 ms of exchange of 1.05 MB",
    );
  });

  test("takes more where computing costs more, never more than grains or allowed", () => {
    const large = { ...question, millisecondsPerStep: 900 };
    assert.deepEqual([chooseTrainers(large).trainers, chooseTrainers(large).reason.includes("possible with 8 grains")], [8, true]);
    assert.equal(chooseTrainers({ ...large, wanted: { min: 1, max: 4 } }).trainers, 4);
    // Five trainers of eight grains are no faster than four: one of them has two grains in either case.
    assert.equal(chooseTrainers({ ...large, wanted: { min: 1, max: 7 } }).trainers, 4);
    assert.equal(chooseTrainers(large).exchangeBytesPerStep, 2 * 4 * 130_662 * 7);
  });

  test("takes as many as asked for; locally one unless asked", () => {
    assert.deepEqual(
      [
        chooseTrainers({ ...question, wanted: { min: 3, max: 3 } }).trainers,
        chooseTrainers({ ...question, wanted: { min: 3, max: 3 } }).reason,
      ],
      [3, "as asked for; a step takes 0.45 ms of computing + 8.34 ms of exchange"],
    );
    assert.equal(chooseTrainers({ ...question, millisecondsPerStep: 900, local: true }).trainers, 1);
    assert.equal(chooseTrainers({ ...question, wanted: { min: 16, max: 16 } }).trainers, 8);
  });

  test("on one machine says what more would exchange", () => {
    assert.equal(
      chooseTrainers({ ...question, local: true }).reason,
      "more would share the cores of this machine, --trainers asks for them; with 2: 1.05 MB exchanged a step, 3.17 ms",
    );
    assert.match(chooseTrainers({ ...question, wanted: { min: 1, max: 1 } }).reason, /more are not allowed by trainers.max; with 2: /);
  });

  test("one grain is the work of one trainer, whatever is asked for", () => {
    const oneGrain = { ...question, grains: 1, wanted: { min: 1, max: 4 } };
    assert.deepEqual(
      [chooseTrainers({ ...oneGrain, parameters: 38_537_217 }), chooseTrainers(oneGrain)].map(({ trainers, reason }) => [trainers, reason]),
      [
        [1, "more than 16,000,000 parameters are trained in one grain, so one trainer does all of it"],
        [1, "a batch is one grain, so one trainer does all of it"],
      ],
    );
  });
});
