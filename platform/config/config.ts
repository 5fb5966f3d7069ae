import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { z } from "zod";
import { CodedError } from "../../domain/errors.js";

/** What the config files of all services share; each service's `config.ts` has its own schema, made of these. Relative paths are relative to the working folder. */

/** A secret, `env:NAME` for an environment variable, or `file:PATH` for the content of a file. */
export const secret = z.string().min(1).meta({ secret: true });

/** `host:port`; port 0 takes a free one. */
export const address = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/, "must be host:port");

const s3 = z
  .strictObject({
    endpoint: z.url({ protocol: /^https?$/ }).describe("http://host:port or https://host."),
    accessKey: secret.describe("Its owner may read, write, list and delete below the location."),
    secretKey: secret.describe("Belongs to accessKey."),
    region: z.string().default("us-east-1").describe("As the server has it."),
  })
  .describe("How to reach an S3-compatible server.");

export const store = z
  .strictObject({ location: z.string().min(1).describe("A folder that all processes see, or s3://bucket/prefix."), s3: s3.optional() })
  .describe("Where everything durable is kept.");

/** Datasets may lie on another server than the store. */
export const datasets = z.strictObject({ s3: s3.optional() }).default({}).describe("How to reach s3:// datasets; default: as the store.");

export const telemetry = z
  .strictObject({
    listen: address.default("127.0.0.1:0").describe("Address of /healthz, /readyz and /metrics; port 0 takes a free one."),
    level: z.enum(["debug", "info", "warn", "error"]).default("info").describe("Least level of a line in the log."),
  })
  .prefault({});

/** Where workers find the coordinator. */
export const coordinator = z.strictObject({
  address: address.describe("host:port of the coordinator."),
  token: secret.optional().describe("Bearer token; its workerToken, where it has one."),
  tls: z
    .strictObject({
      ca: z.string().optional().describe("PEM file of the authority that signed the server's certificate."),
      serverName: z.string().optional().describe("The name in the server's certificate, where it is not that of the address."),
      certificate: z.string().optional().describe("PEM file of this worker's own, where the coordinator has a tls.clientCa."),
      key: z.string().optional().describe("PEM file; belongs to certificate."),
    })
    .refine(({ certificate, key }) => (certificate === undefined) === (key === undefined), {
      message: "needs certificate and key together, or neither",
    })
    .optional()
    .describe("Given, even as {}: TLS."),
  allowPlaintext: z.boolean().default(false).describe("Plaintext to an address that is not this machine."),
});

export const workerName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,100}$/)
  .optional()
  .describe("Unique among the workers that live; default: host and process id.");
export const engine = z.string().default("onnx").describe("onnx or tensorflow; jobs that need another are left to others.");
export const threads = z.number().int().positive().optional().describe("Of one engine call; default: one for each processor.");

export const milliseconds = z.number().int().positive();

/**
 * Reads a YAML or JSON file against a schema. `env:` and `file:` are resolved in secrets and users only.
 * @throws CodedError CONFIG_INVALID with every problem, each with its path
 */
export async function readConfig<Schema extends z.ZodObject>(file: string, schema: Schema): Promise<z.output<Schema>> {
  let value: unknown;
  try {
    value = parse(await readFile(file, "utf8")) ?? {};
  } catch (cause) {
    throw new CodedError("CONFIG_INVALID", `config file ${file}: ${cause instanceof Error ? cause.message : String(cause)}`, {}, cause);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "(top)"}: ${message}`);
    throw new CodedError(
      "CONFIG_INVALID",
      `config file ${file}: ${String(problems.length)} ${problems.length === 1 ? "problem" : "problems"}\n  ${problems.join("\n  ")}`,
    );
  }
  return (await resolveSecrets(parsed.data, file, "")) as z.output<Schema>;
}

/** The effective values, for a log: secrets are masked. */
export function maskSecrets(config: unknown, name = ""): unknown {
  if (Array.isArray(config)) return config.map((each) => maskSecrets(each, name));
  if (typeof config === "object" && config !== null)
    return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, maskSecrets(value, key)]));
  return isSecret(name) && typeof config === "string" ? "***" : config;
}

function isSecret(name: string): boolean {
  return /^(accessKey|secretKey|token|clientToken|workerToken|password)$/.test(name);
}

/** The user beside a password comes from where the password comes from, though it is no secret. */
function mayBeElsewhere(name: string): boolean {
  return isSecret(name) || name === "user";
}

async function resolveSecrets(value: unknown, file: string, path: string): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map((each, index) => resolveSecrets(each, file, `${path}[${String(index)}]`)));
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(async ([key, each]): Promise<[string, unknown]> => [
      key,
      await resolveSecrets(each, file, path === "" ? key : `${path}.${key}`),
    ]);
    return Object.fromEntries(await Promise.all(entries));
  }
  if (typeof value !== "string" || !mayBeElsewhere(path.slice(path.lastIndexOf(".") + 1))) return value;
  if (value.startsWith("env:")) {
    const found = process.env[value.slice(4)];
    if (found === undefined || found === "")
      throw new CodedError("CONFIG_INVALID", `config file ${file}: ${path}: the environment variable ${value.slice(4)} is not set`);
    return found;
  }
  if (!value.startsWith("file:")) return value;
  try {
    return (await readFile(value.slice(5), "utf8")).trim();
  } catch (cause) {
    throw new CodedError(
      "CONFIG_INVALID",
      `config file ${file}: ${path}: ${value.slice(5)} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      {},
      cause,
    );
  }
}
