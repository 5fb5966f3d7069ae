import assert from "node:assert";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, test } from "vitest";
import { JobStatus_Phase } from "../../proto/gen/graft/v1/job_pb.js";
import { CodedError } from "../errors.js";
import {
  displayedPhase,
  isFinal,
  moves,
  nextState,
  phases,
  renderJobStates,
  transitions,
  type JobState,
  type Move,
} from "./transitions.js";

const state = (phase: JobState["phase"], suspended = false): JobState => ({ phase, suspended });
const illegal = (error: unknown): boolean => error instanceof CodedError && error.code === "JOB_TRANSITION_ILLEGAL";

describe("the states of a job", () => {
  test("lead from Pending to Complete", () => {
    const path: Move[] = ["started", "listed", "planned", "extracted", "trained", "evaluated", "exported"];
    const visited = path.reduce<JobState[]>((seen, move) => [...seen, nextState(seen.at(-1) as JobState, move)], [state("Pending")]);
    assert.deepEqual(
      visited.map(({ phase }) => phase),
      ["Pending", "Scanning", "Planning", "Extracting", "Training", "Evaluating", "Exporting", "Complete"],
    );
  });

  test("every pair outside the table is refused, every pair inside leads to a known state", () => {
    for (const phase of phases) {
      for (const move of Object.keys(moves) as Move[]) {
        const next = (transitions[phase] as Partial<Record<Move, JobState["phase"]>>)[move];
        if (next !== undefined) assert.deepEqual(nextState(state(phase), move), state(next));
        else if (move === "suspended" || move === "resumed") {
          if (isFinal(phase)) assert.throws(() => nextState(state(phase), move), illegal);
          else assert.deepEqual(nextState(state(phase), move), state(phase, move === "suspended"));
        } else assert.throws(() => nextState(state(phase), move), illegal);
      }
    }
  });

  test("every state but the last ones can fail, be cancelled and reach Complete", () => {
    const reaches = (phase: JobState["phase"], seen: readonly string[] = []): boolean =>
      phase === "Complete" ||
      (Object.values(transitions[phase]) as JobState["phase"][]).some((next) => !seen.includes(next) && reaches(next, [...seen, phase]));
    for (const phase of phases.filter((each) => !isFinal(each))) {
      assert(reaches(phase), phase);
      assert.equal(nextState(state(phase), "gaveUp").phase, "Failed");
      assert.equal(nextState(state(phase), "cancelled").phase, "Cancelled");
    }
    assert.deepEqual(phases.filter(isFinal), ["Complete", "Failed", "Cancelled"]);
  });

  test("Suspended keeps the phase that it interrupts", () => {
    const suspended = nextState(state("Training"), "suspended");
    assert.equal(displayedPhase(suspended), "Suspended");
    assert.throws(() => nextState(suspended, "trained"), illegal);
    assert.deepEqual(nextState(suspended, "suspended"), suspended);
    assert.deepEqual(nextState(suspended, "resumed"), state("Training"));
    assert.deepEqual(nextState(suspended, "cancelled"), state("Cancelled"));
  });

  test("have the same names in the proto, in capitals", () => {
    const names = Object.keys(JobStatus_Phase).filter((name) => Number.isNaN(Number(name)));
    assert.deepEqual(
      names,
      phases.map((phase) => phase.toUpperCase()),
    );
  });

  test("docs/protocols/job-states.md is what the table prints (GRAFT_WRITE_DOCS=1 writes it)", () => {
    const file = "docs/protocols/job-states.md";
    if (process.env["GRAFT_WRITE_DOCS"] === "1") writeFileSync(file, renderJobStates());
    assert.equal(existsSync(file) ? readFileSync(file, "utf8") : "", renderJobStates());
  });
});
