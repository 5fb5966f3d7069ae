import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { Clock } from "../clock/clock.js";
import type { Kubernetes } from "./kubernetes.js";
import { serviceAccountTokens } from "./service-account-token.js";

function setup(answers: readonly (number | CodedError)[]) {
  const asked: unknown[] = [];
  let nowMs = 0;
  const clock = { monotonic: () => nowMs } as Clock;
  const core = {
    createNamespacedServiceAccountToken: (request: unknown) => {
      const answer = answers[asked.length];
      asked.push(request);
      if (answer instanceof CodedError) return Promise.reject(answer);
      return Promise.resolve({ spec: { expirationSeconds: answer }, status: { token: `token-${String(asked.length)}` } });
    },
  };
  const kubernetes = { core, request: (_: string, send: () => Promise<unknown>) => send() } as unknown as Kubernetes;
  const tokens = serviceAccountTokens(kubernetes, { namespace: "team-a", name: "graft-client" }, "graft", clock);
  return { tokens, asked, passSeconds: (seconds: number) => (nowMs += seconds * 1_000) };
}

test("a token is asked for once, and anew when a fifth of what the server gave is left", async () => {
  const { tokens, asked, passSeconds } = setup([600, 600]);
  expect(await Promise.all([tokens(), tokens()])).toEqual(["token-1", "token-1"]);
  passSeconds(479);
  expect(await tokens()).toBe("token-1");
  passSeconds(1);
  expect(await tokens()).toBe("token-2");
  const body = { spec: { audiences: ["graft"], expirationSeconds: 3_600 } };
  expect(asked).toEqual([1, 2].map(() => ({ namespace: "team-a", name: "graft-client", body })));
});

test("a renewal that fails in passing leaves the token in use until it ends; a refusal does not", async () => {
  const away = new CodedError("CLUSTER_UNAVAILABLE", "away");
  const { tokens, passSeconds } = setup([600, away, away, 600]);
  await tokens();
  passSeconds(500);
  expect(await tokens()).toBe("token-1");
  passSeconds(100);
  await expect(tokens()).rejects.toThrow("away");
  expect(await tokens()).toBe("token-4");
  const refused = setup([600, new CodedError("CLUSTER_REFUSED", "forbidden", { status: 403 })]);
  await refused.tokens();
  refused.passSeconds(500);
  await expect(refused.tokens()).rejects.toThrow(
    'forbidden; missing is the right to "create" on "serviceaccounts/token" with the name graft-client in namespace team-a',
  );
});
