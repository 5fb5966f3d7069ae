import { createHash, timingSafeEqual } from "node:crypto";
import { CodedError } from "../../domain/errors.js";
import type { Access, Caller } from "./access.js";

/** Bearer tokens that are let in. Several of one kind let them be exchanged one after the other; the two kinds may hold the same. */
export interface Tokens {
  /** For WorkService. */
  readonly worker: readonly string[];
  /** For JobService. */
  readonly client: readonly string[];
}

/** Whoever is refused may be a person at the command line, a worker, or a program. */
const advice =
  "give the one that the server was configured with: --token-file or $GRAFT_TOKEN of the command line, coordinator.token of a worker, metadata `authorization: Bearer TOKEN` of a program";

/** Who has one of these tokens may do all that the service is for which it is. @throws CodedError CONFIG_INVALID where that would be nobody */
export function staticTokens(tokens: Tokens): Access {
  refuseEmpty(tokens);
  const known = { worker: tokens.worker.map(digest), client: tokens.client.map(digest) };
  return {
    advice,
    async authenticate(token) {
      if (token === undefined) throw new CodedError("ACCESS_DENIED", `the call has no token; ${advice}`);
      const worker = holds(known.worker, token);
      const client = holds(known.client, token);
      if (!worker && !client) throw new CodedError("ACCESS_DENIED", `the token is not one of the server's; ${advice}`);
      return holder(client, worker);
    },
    mayDo: async ({ client }) => client,
    jobOfPod: async () => undefined,
  };
}

function holder(client: boolean, worker: boolean): Caller {
  const user = client ? "holder of clientToken" : "holder of workerToken";
  return { user, uid: "", groups: [], extra: {}, namespace: undefined, client, worker: worker ? "anyone" : undefined };
}

function refuseEmpty({ worker, client }: Tokens): void {
  for (const [name, list] of Object.entries({ worker, client })) {
    if (list.length === 0 || list.some((token: string) => token === "")) {
      throw new CodedError(
        "CONFIG_INVALID",
        `tokens.${name}: must hold at least one token, and none that is empty; nobody could call otherwise`,
      );
    }
  }
}

/** Compares with all of them, in a time that depends on none. */
function holds(known: readonly Buffer[], token: string): boolean {
  const found = digest(token);
  return known.reduce((held, each) => timingSafeEqual(each, found) || held, false);
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
