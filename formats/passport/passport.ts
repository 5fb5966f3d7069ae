import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { FeatureSpec } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { isSha256Hex } from "../../domain/features/sha256.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { SamplesRecord } from "../../domain/job/records.js";
import type { Streaming } from "../../domain/training/lanes.js";

export const passportVersion = 1;

/**
 * `passport.json`: everything that determined a result, and the digests of what came out. Canonical JSON: equal passports are equal files.
 * It holds no time, no host and no number of workers, for none of these shapes the result.
 */
export interface Passport {
  readonly formatVersion: typeof passportVersion;
  /** The spec with every default filled in, without what cannot shape the result (workers, source folder). */
  readonly spec: PassportSpec;
  readonly dataset: Pick<SamplesRecord, "digest" | "rows" | "classes" | "counts" | "rejectedCount" | "duplicateCount" | "conflictCount">;
  readonly backbone: {
    readonly name: string;
    readonly digest: string;
    /** The last layer that was used. */
    readonly lastLayer: string;
    readonly origin: string;
    readonly licence: string;
  };
  readonly cut: string;
  readonly features: FeatureSpec;
  readonly featureSpecDigest: string;
  /** What training started from, beside `spec.head`: the backbone, nothing, or tensors with this digest of their file and these prefixes taken off and put in front. */
  readonly initialWeights:
    | { readonly kind: "backbone" | "random" }
    | { readonly kind: "result"; readonly sha256: string; readonly strip: string; readonly add: string };
  readonly training: {
    readonly profile: NumericsProfile;
    /** False where `numericsProfile: ANY` let features of other profiles in: then the digests need not repeat. */
    readonly profilePinned: boolean;
    /** Into how many every batch was divided. */
    readonly grains: number;
    readonly batchSize: number;
    /** Into what the rows of a grain were divided (domain/training/lanes.ts); null where all features were held in memory. */
    readonly streaming: Streaming | null;
    readonly steps: number;
    /** The step whose weights are exported: the last, or with early stopping the best on validation. */
    readonly exportedStep: number;
    readonly parameters: number;
  };
  readonly versions: { readonly graft: string; readonly engine: string };
  /** Rule: `weightsSha256` in domain/training/parameters.ts. */
  readonly weightsSha256: string;
  /** SHA-256 of every exported file that holds no times, so all but metrics, events, the passport itself and the report that shows it, by its path under the output folder. */
  readonly files: Readonly<Record<string, string>>;
}

export type PassportSpec = Omit<
  ResolvedJob,
  "dataset" | "extractors" | "trainers" | "engines" | "backbone" | "initialWeights" | "cacheDomain"
> & {
  readonly dataset: Omit<ResolvedJob["dataset"], "source">;
};

/** What of a resolved spec shapes the result. */
export function passportSpec({
  dataset,
  preprocessing,
  cut,
  views,
  head,
  training,
  minimumAccuracy,
  numericsProfile,
}: ResolvedJob): PassportSpec {
  return {
    dataset: { split: dataset.split, maxRejectedPercent: dataset.maxRejectedPercent },
    preprocessing,
    cut,
    views,
    head,
    training,
    minimumAccuracy,
    numericsProfile,
  };
}

export function encodePassport(passport: Passport): Uint8Array {
  return new TextEncoder().encode(`${canonicalJson(passport)}\n`);
}

/**
 * Reads a passport of this version; fields are checked as far as they are used to find and verify a result.
 * @throws CodedError FILE_FORMAT_INVALID; STORE_FORMAT_NEWER where a newer graft wrote it.
 */
export function decodePassport(bytes: Uint8Array): Passport {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CodedError("FILE_FORMAT_INVALID", "passport: it is no JSON in UTF-8; export the result again", {}, cause);
  }
  const { formatVersion, weightsSha256, files, dataset, backbone } = (typeof value === "object" && value !== null ? value : {}) as Partial<
    Record<keyof Passport, unknown>
  >;
  if (typeof formatVersion === "number" && formatVersion > passportVersion) {
    throw new CodedError(
      "STORE_FORMAT_NEWER",
      `passport: version ${formatVersion} is newer than ${passportVersion}, which this graft reads; update graft`,
    );
  }
  const problem =
    formatVersion !== passportVersion
      ? `formatVersion must be ${passportVersion}, found ${JSON.stringify(formatVersion)}`
      : !isSha256Hex(weightsSha256)
        ? `weightsSha256 must be 64 lower-case hex digits, found ${JSON.stringify(weightsSha256)}`
        : typeof files !== "object" || files === null || !Object.values(files).every(isSha256Hex)
          ? "files must give the SHA-256 of every file"
          : typeof dataset !== "object" || dataset === null || typeof backbone !== "object" || backbone === null
            ? "dataset and backbone must be objects"
            : undefined;
  if (problem !== undefined) throw new CodedError("FILE_FORMAT_INVALID", `passport: ${problem}`);
  return value as Passport;
}
