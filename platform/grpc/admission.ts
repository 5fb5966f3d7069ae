import { createHash, timingSafeEqual } from "node:crypto";
import {
  ResponderBuilder,
  ServerInterceptingCall,
  ServerListenerBuilder,
  status,
  type Metadata,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { CodedError } from "../../domain/errors.js";
import { CONTRACT_HEADER, CONTRACT_VERSION } from "./contract.js";
import { statusOf } from "./errors.js";
import type { Audience, GrpcService } from "./service.js";

/** Bearer tokens that are let in. Several of one kind let them be exchanged one after the other; the two kinds may hold the same. */
export interface Tokens {
  /** For WorkService. */
  readonly worker: readonly string[];
  /** For JobService. */
  readonly client: readonly string[];
}

/** Open to everybody: probes of a cluster have no token. */
const OPEN = "/grpc.health.v1.Health/";

/** Refuses a call before its message is read: token, then version of the contract. */
export function admission(services: readonly GrpcService[], tokens: Tokens | undefined): ServerInterceptor {
  const known = tokens === undefined ? undefined : { worker: tokens.worker.map(digest), client: tokens.client.map(digest) };
  return (method, call) => {
    const service = services.find(({ descriptor }) => method.path.startsWith(`/${descriptor.typeName}/`));
    const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, next) => {
      const refusal =
        (known === undefined || method.path.startsWith(OPEN) ? undefined : refuseToken(metadata, known, service?.audience)) ??
        (service === undefined ? undefined : refuseContract(metadata, service));
      if (refusal === undefined) next(metadata);
      else call.sendStatus(refusal);
    });
    return new ServerInterceptingCall(call, new ResponderBuilder().withStart((next) => next(listener.build())).build());
  };
}

/** Whoever is refused may be a person at the command line, a worker, or a program. */
const whereToGive =
  "give the one that the server was configured with: --token-file or $GRAFT_TOKEN of the command line, coordinator.token of a worker, metadata `authorization: Bearer TOKEN` of a program";

/** `audience` undefined: any token will do, as for reflection. */
function refuseToken(metadata: Metadata, known: Record<Audience, readonly Buffer[]>, audience: Audience | undefined) {
  const [header] = metadata.get("authorization");
  const [, token] = typeof header === "string" ? (/^Bearer (\S+)$/i.exec(header) ?? []) : [];
  if (token === undefined) {
    return statusOf(new CodedError("ACCESS_DENIED", `the call has no token; ${whereToGive}`), status.UNAUTHENTICATED);
  }
  const worker = holds(known.worker, token);
  const client = holds(known.client, token);
  if (!worker && !client)
    return statusOf(new CodedError("ACCESS_DENIED", `the token is not one of the server's; ${whereToGive}`), status.UNAUTHENTICATED);
  if (audience === undefined || (audience === "worker" ? worker : client)) return undefined;
  return statusOf(new CodedError("ACCESS_DENIED", `this call is for ${audience}s, and the token is not one of theirs; ${whereToGive}`));
}

function refuseContract(metadata: Metadata, { contract, descriptor }: GrpcService) {
  const [version] = metadata.get(CONTRACT_HEADER);
  if (version === CONTRACT_VERSION || (version === undefined && contract === "optional")) return undefined;
  return statusOf(
    new CodedError(
      "CONTRACT_MISMATCH",
      `${descriptor.name}: the server speaks version ${CONTRACT_VERSION} of the contract, the caller ` +
        `${version === undefined ? `does not say which (metadata ${CONTRACT_HEADER})` : `version ${String(version).slice(0, 20)}`}; run the same version of graft on both sides`,
    ),
  );
}

/** Compares with all of them, in a time that depends on none. */
function holds(known: readonly Buffer[], token: string): boolean {
  const found = digest(token);
  return known.reduce((held, each) => timingSafeEqual(each, found) || held, false);
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
