import type { BucketPage } from "./bucket.js";

/** Reads the XML of ListObjectsV2 with `encoding-type=url`. Keys stay texts whatever they look like, and a page of a thousand takes a few milliseconds. */
export function parseListPage(xml: string): BucketPage | undefined {
  if (!xml.includes("<ListBucketResult")) return undefined;
  const objects = [...xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, entry = ""]) => ({
    key: keyOf(textOf(entry, "Key")),
    bytes: Number(textOf(entry, "Size")),
    etag: plainEtag(textOf(entry, "ETag")),
    modifiedMs: Date.parse(textOf(entry, "LastModified")),
  }));
  const prefixes = [...xml.matchAll(/<CommonPrefixes>(.*?)<\/CommonPrefixes>/gs)].map(([, entry = ""]) => keyOf(textOf(entry, "Prefix")));
  const isTruncated = textOf(xml, "IsTruncated") === "true";
  return { objects, prefixes, next: isTruncated ? unescaped(textOf(xml, "NextContinuationToken")) : undefined };
}

/** Without quotes, as headers and listings write them in different ways. */
export function plainEtag(text: string): string {
  return unescaped(text).replace(/^(?:W\/)?"?|"?$/g, "");
}

function textOf(xml: string, tag: string): string {
  const start = xml.indexOf(`<${tag}>`);
  if (start < 0) return "";
  const from = start + tag.length + 2;
  return xml.slice(from, xml.indexOf("<", from));
}

function keyOf(text: string): string {
  return decodeURIComponent(unescaped(text).replaceAll("+", " "));
}

function unescaped(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    return { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }[name ?? ""] ?? whole;
  });
}
