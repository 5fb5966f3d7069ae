import { createHash } from "node:crypto";
import http from "node:http";
import https from "node:https";
import { Client } from "minio";
import { CodedError } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { limits } from "../../domain/limits.js";
import type { Bucket, BucketObject, BucketPage, ObjectHead, S3Access } from "./bucket.js";
import { parseListPage, plainEtag } from "./list-page.js";
import { s3CodeOf, s3ErrorFrom } from "./s3-error.js";

/** User metadata of every object that graft writes. */
const SHA256_HEADER = "x-amz-meta-graft-sha256";
/** Answers that the library turns into errors without reading them: their connection would never be free again. */
const unreadStatuses = new Set([408, 429, 499, 500, 502, 503, 504, 520]);

/** A bucket through the `minio` client, whose own retries and multipart uploads are not used. Opens no connection yet. */
export function connectBucket(access: S3Access, name: string): Bucket {
  return new MinioBucket(access, name);
}

/** Makes the bucket unless it is there. */
export async function makeBucket(bucket: Bucket): Promise<void> {
  if (bucket instanceof MinioBucket) await bucket.make();
}

interface Answer {
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Uint8Array;
}

interface Call {
  readonly what: string;
  readonly method: "GET" | "PUT" | "HEAD" | "DELETE";
  readonly key?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly statuses?: readonly number[];
  /** Longer bodies are refused before they are read. */
  readonly bytesMax?: number;
}

class MinioBucket implements Bucket {
  readonly name: string;
  readonly endpoint: string;
  readonly #client: Client;
  readonly #accessKey: string;
  readonly #isTls: boolean;
  #clockAheadMs: number | undefined;

  constructor(access: S3Access, name: string) {
    this.name = name;
    const { hostname, port, protocol, origin } = endpointUrl(access.endpoint);
    this.endpoint = origin;
    this.#accessKey = access.accessKey;
    this.#isTls = protocol === "https:";
    const connections = { keepAlive: true, maxSockets: limits.storeConnections };
    this.#client = new Client({
      endPoint: hostname.replace(/^\[|\]$/g, ""),
      ...(port !== "" && { port: Number(port) }),
      useSSL: this.#isTls,
      accessKey: access.accessKey,
      secretKey: access.secretKey,
      region: access.region ?? "us-east-1",
      pathStyle: true,
      retryOptions: { disableRetry: true },
      transportAgent: this.#isTls
        ? new https.Agent({ ...connections, ...(access.ca !== undefined && { ca: access.ca }) })
        : new http.Agent(connections),
      transport: withDeadline(
        this.#isTls ? https : http,
        access.deadlineMs ?? limits.storeDeadlineMs,
        (ahead) => (this.#clockAheadMs = ahead),
      ),
    });
  }

  async make(): Promise<void> {
    try {
      await this.#client.makeBucket(this.name);
    } catch (error) {
      if (s3CodeOf(error) !== "BucketAlreadyOwnedByYou") throw this.#failure(error, "make the bucket");
    }
  }

  async put(key: string, body: Uint8Array, ifAbsent: boolean): Promise<"stored" | "exists"> {
    const headers = {
      "content-type": "application/octet-stream",
      [SHA256_HEADER]: sha256Hex(body),
      // Over http the signature covers the body.
      ...(this.#isTls && { "content-md5": createHash("md5").update(body).digest("base64") }),
      ...(ifAbsent && { "if-none-match": "*" }),
    };
    const answer = await this.#call({ what: `write object ${key}`, method: "PUT", key, headers, body }, ["PreconditionFailed"]);
    return typeof answer === "string" ? "exists" : "stored";
  }

  async get(key: string, bytesMax?: number): Promise<BucketObject | undefined> {
    const found = await this.#getWhole(key, {}, bytesMax);
    return found === "changed" ? undefined : found;
  }

  async getIfMatch(key: string, etag: string, bytes: number): Promise<BucketObject | "changed" | undefined> {
    const found = await this.#getWhole(key, { "if-match": `"${etag}"` }, bytes);
    if (found !== undefined && found !== "changed" && found.bytes !== bytes)
      throw this.#unavailable(`read object ${key}`, `expected ${bytes} bytes, found ${found.bytes}`);
    return found;
  }

  async getRange(key: string, from: number, to: number): Promise<Uint8Array | undefined> {
    if (to <= from) return (await this.head(key)) && new Uint8Array(0);
    const headers = { range: `bytes=${from}-${to - 1}` };
    const call = { what: `read object ${key}`, method: "GET", key, headers, statuses: [200, 206], bytesMax: to - from } as const;
    const answer = await this.#call(call, ["NoSuchKey", "NotFound", "InvalidRange", "XMinioParentIsObject"]);
    if (typeof answer !== "string") return answer.body;
    return answer === "InvalidRange" ? new Uint8Array(0) : undefined;
  }

  async head(key: string): Promise<ObjectHead | undefined> {
    const answer = await this.#call({ what: `read object ${key}`, method: "HEAD", key }, ["NotFound", "NoSuchKey"]);
    return typeof answer === "string" ? undefined : headOf(answer.headers, Number(answer.headers["content-length"]));
  }

  async list({ prefix, after, next, byFolder }: Parameters<Bucket["list"]>[0]): Promise<BucketPage> {
    const query = Object.entries({
      ...(next !== undefined && { "continuation-token": next }),
      ...(byFolder === true && { delimiter: "/" }),
      "encoding-type": "url",
      "list-type": "2",
      "max-keys": "1000",
      prefix,
      ...(after !== undefined && { "start-after": after }),
    })
      .map(([name, value]) => `${name}=${escaped(value)}`)
      .join("&");
    const what = `list objects under ${JSON.stringify(prefix)}`;
    const answer = await this.#call({ what, method: "GET", query }, []);
    const page = typeof answer === "string" ? undefined : parseListPage(Buffer.from(answer.body).toString("utf8"));
    if (page === undefined) throw this.#unavailable(what, "the answer is no listing");
    return page;
  }

  async delete(key: string): Promise<void> {
    await this.#call({ what: `delete object ${key}`, method: "DELETE", key, statuses: [200, 204] }, ["NoSuchKey", "NotFound"]);
  }

  async urlOf(key: string, seconds: number): Promise<string> {
    return this.#client.presignedGetObject(this.name, key, seconds);
  }

  clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  async #getWhole(
    key: string,
    headers: Readonly<Record<string, string>>,
    bytesMax?: number,
  ): Promise<BucketObject | "changed" | undefined> {
    const what = `read object ${key}`;
    const call = { what, method: "GET", key, headers, ...(bytesMax !== undefined && { bytesMax }) } as const;
    const answer = await this.#call(call, ["NoSuchKey", "NotFound", "PreconditionFailed", "XMinioParentIsObject"]);
    if (typeof answer === "string") return answer === "PreconditionFailed" ? "changed" : undefined;
    const { body } = answer;
    const head = headOf(answer.headers, body.length);
    const expected = expectedDigest(head, answer.headers);
    const found = expected && createHash(expected.algorithm).update(body).digest("hex");
    if (expected !== undefined && found !== expected.hex)
      throw this.#unavailable(
        what,
        `the body that came is another than was written: ${body.length} bytes with ${expected.algorithm} ${String(found)}, expected ${expected.hex}`,
        { wrongBody: sha256Hex(body) },
      );
    return { ...head, body };
  }

  /** The answer, or the server's code where it is one of `codes`. */
  async #call(call: Call, codes: readonly string[]): Promise<Answer | string> {
    const { what, method, key, query, headers = {}, body, statuses = [200], bytesMax } = call;
    try {
      const response = await this.#client.makeRequestAsync(
        {
          method,
          bucketName: this.name,
          ...(key !== undefined && { objectName: key }),
          ...(query !== undefined && { query }),
          headers: { ...headers },
        },
        body === undefined ? "" : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
        [...statuses],
      );
      return { headers: response.headers, body: await this.#bodyOf(response, method, what, bytesMax) };
    } catch (error) {
      const code = s3CodeOf(error);
      if (code !== undefined && codes.includes(code)) return code;
      throw this.#failure(error, what);
    }
  }

  #failure(error: unknown, what: string): unknown {
    return s3ErrorFrom(error, what, {
      endpoint: this.endpoint,
      bucket: this.name,
      accessKey: this.#accessKey,
      clockAheadMs: this.#clockAheadMs,
    });
  }

  async #bodyOf(response: http.IncomingMessage, method: string, what: string, bytesMax = Infinity): Promise<Uint8Array> {
    const stated = response.headers["content-length"];
    const length = method === "HEAD" || stated === undefined ? 0 : Number(stated);
    if (length > bytesMax) {
      response.destroy();
      throw this.#unavailable(what, `expected at most ${bytesMax} bytes, found ${length}`);
    }
    // Not from Node's pool: the body may be kept for long and handed to other threads.
    let body = new Uint8Array(length);
    let received = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const end = received + chunk.length;
      if (end > bytesMax) throw this.#unavailable(what, `expected at most ${bytesMax} bytes, found more`);
      if (end > body.length) {
        const larger = new Uint8Array(Math.max(end, 2 * body.length));
        larger.set(body.subarray(0, received));
        body = larger;
      }
      body.set(chunk, received);
      received = end;
    }
    if (stated !== undefined && method !== "HEAD" && received !== length)
      throw this.#unavailable(what, `the body ended after ${received} of ${length} bytes`);
    return received === body.length ? body : body.slice(0, received);
  }

  #unavailable(what: string, found: string, details: Readonly<Record<string, unknown>> = {}): CodedError {
    const message = `store s3://${this.name} at ${this.endpoint}: cannot ${what}: ${found}; check network and server, then run again`;
    return new CodedError("STORE_UNAVAILABLE", message, { endpoint: this.endpoint, bucket: this.name, ...details });
  }
}

function headOf(headers: http.IncomingHttpHeaders, bytes: number): ObjectHead {
  const sha256 = headers[SHA256_HEADER];
  return {
    bytes,
    modifiedMs: Date.parse(headers["last-modified"] ?? ""),
    etag: plainEtag(headers.etag ?? ""),
    sha256: typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : undefined,
  };
}

/** What the body's digest must be: graft's own, else an ETag that is an MD5 (of one part, not encrypted with a key of its own). */
function expectedDigest(
  { sha256, etag }: ObjectHead,
  headers: http.IncomingHttpHeaders,
): { readonly algorithm: "sha256" | "md5"; readonly hex: string } | undefined {
  if (sha256 !== undefined) return { algorithm: "sha256", hex: sha256 };
  const encryption = headers["x-amz-server-side-encryption"] ?? "AES256";
  const isMd5 =
    /^[0-9a-f]{32}$/.test(etag) && encryption === "AES256" && headers["x-amz-server-side-encryption-customer-algorithm"] === undefined;
  return isMd5 ? { algorithm: "md5", hex: etag } : undefined;
}

function endpointUrl(endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.pathname !== "/")
    throw new CodedError(
      "CONFIG_INVALID",
      `endpoint of the S3-compatible store: expected http://HOST:PORT or https://HOST[:PORT], found ${JSON.stringify(endpoint)}; set GRAFT_S3_ENDPOINT`,
    );
  return url;
}

/** As the signature wants it: everything but letters, digits and `-._~`. */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** `request` of Node whose whole exchange, body included, ends within the deadline; the time that a body may take grows with its length. */
function withDeadline(
  module: Pick<typeof http, "request">,
  deadlineMs: number,
  observeClock: (aheadMs: number) => void,
): Pick<typeof http, "request"> {
  const request = (options: http.RequestOptions, onResponse: (response: http.IncomingMessage) => void): http.ClientRequest => {
    const startMs = Date.now();
    let end = (error: Error): unknown => sent.destroy(error);
    const overrun = (): unknown => end(Object.assign(new Error(`no answer within ${deadlineMs} ms`), { code: "DEADLINE" }));
    const bodyMs = (headers: http.OutgoingHttpHeaders): number =>
      (1000 * Number(headers["content-length"] ?? 0)) / limits.storeBytesPerSecondMin;
    let timer = setTimeout(overrun, deadlineMs + bodyMs(options.headers as http.OutgoingHttpHeaders));
    const sent = module.request(options, (response) => {
      const { date } = response.headers;
      if (date !== undefined) observeClock(clockAhead(Date.parse(date), startMs, Date.now()));
      clearTimeout(timer);
      timer = setTimeout(overrun, deadlineMs + bodyMs(response.headers));
      end = (error) => response.destroy(error);
      response.once("close", () => clearTimeout(timer));
      if (unreadStatuses.has(response.statusCode ?? 0)) response.resume();
      onResponse(response);
    });
    sent.once("close", () => clearTimeout(timer));
    return sent;
  };
  return { request: request as typeof http.request };
}

/** The server's date has whole seconds and was made between start and end; 0 where it fits. */
function clockAhead(serverMs: number, startMs: number, endMs: number): number {
  if (serverMs + 1000 < startMs) return serverMs + 1000 - startMs;
  return serverMs > endMs ? serverMs - endMs : 0;
}
