/** What a token says of itself. Nothing of it is proven: only the API server knows its signature. */
export interface TokenClaims {
  readonly audiences: readonly string[];
  /** Milliseconds since the Unix epoch; undefined where it never expires. */
  readonly expiresMs: number | undefined;
}

/** The claims of a JSON web token; undefined for what is none. */
export function readClaims(token: string): TokenClaims | undefined {
  const [, payload, signature, ...more] = token.split(".");
  if (payload === undefined || signature === undefined || more.length > 0) return undefined;
  try {
    const { aud, exp } = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as {
      readonly aud?: unknown;
      readonly exp?: unknown;
    };
    const audiences = (Array.isArray(aud) ? aud : [aud]).filter((each): each is string => typeof each === "string");
    return { audiences, expiresMs: typeof exp === "number" && Number.isFinite(exp) ? exp * 1_000 : undefined };
  } catch {
    return undefined;
  }
}
