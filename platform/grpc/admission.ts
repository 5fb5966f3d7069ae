import {
  ResponderBuilder,
  ServerInterceptingCall,
  ServerListenerBuilder,
  status,
  type Metadata,
  type ServerInterceptor,
  type StatusObject,
} from "@grpc/grpc-js";
import { CodedError } from "../../domain/errors.js";
import type { Access, Audience, Caller } from "../access/access.js";
import { CONTRACT_HEADER, CONTRACT_VERSION } from "./contract.js";
import { statusOf } from "./errors.js";
import type { GrpcService } from "./service.js";

/** Open to everybody: probes of a cluster have no token. */
const OPEN = "/grpc.health.v1.Health/";

export interface Admission {
  readonly services: readonly GrpcService[];
  readonly access: Access;
  /** Told of every caller that is let in: gRPC hands the metadata of a call on to its handler as this very object. */
  readonly onAdmitted: (metadata: Metadata, caller: Caller) => void;
  /** A failure that nobody expected; the client sees nothing of it. */
  readonly onUnexpected: (error: unknown, method: string) => void;
}

/** Refuses a call before its message is read: token, then version of the contract. */
export function admission({ services, access, onAdmitted, onUnexpected }: Admission): ServerInterceptor {
  return (method, call) => {
    const service = services.find(({ descriptor }) => method.path.startsWith(`/${descriptor.typeName}/`));
    const admit = async (metadata: Metadata): Promise<StatusObject | undefined> => {
      if (method.path.startsWith(OPEN)) return undefined;
      const caller = await access.authenticate(tokenOf(metadata)).catch(unauthenticated);
      if (!("user" in caller)) return caller;
      const refusal = service && (refuseAudience(caller, service.audience, access.advice) ?? refuseContract(metadata, service));
      if (refusal === undefined) onAdmitted(metadata, caller);
      return refusal;
    };
    const unauthenticated = (error: unknown): StatusObject => {
      if (!(error instanceof CodedError)) onUnexpected(error, method.path);
      const isDenied = error instanceof CodedError && error.code === "ACCESS_DENIED";
      return statusOf(error, isDenied ? status.UNAUTHENTICATED : undefined);
    };
    const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, next) => {
      void admit(metadata).then((refusal) => {
        if (refusal === undefined) next(metadata);
        else call.sendStatus(refusal);
      });
    });
    return new ServerInterceptingCall(call, new ResponderBuilder().withStart((next) => next(listener.build())).build());
  };
}

/** Of `authorization: Bearer TOKEN`; other schemes are none. */
function tokenOf(metadata: Metadata): string | undefined {
  const [header] = metadata.get("authorization");
  return typeof header === "string" ? /^Bearer (\S+)$/i.exec(header)?.[1] : undefined;
}

function refuseAudience({ client, worker }: Caller, audience: Audience, advice: string): StatusObject | undefined {
  if (audience === "worker" ? worker !== undefined : client) return undefined;
  return statusOf(new CodedError("ACCESS_DENIED", `this call is for ${audience}s, and the token is not one of theirs; ${advice}`));
}

function refuseContract(metadata: Metadata, { contract, descriptor }: GrpcService): StatusObject | undefined {
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
