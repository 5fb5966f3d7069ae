import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { parseS3Location } from "./bucket.js";
import { parseListPage } from "./list-page.js";
import { s3ErrorFrom } from "./s3-error.js";

test("a location is a bucket with a prefix or without; what is none is seen", () => {
  assert.deepEqual(parseS3Location("s3://pictures/a/b c/"), { bucket: "pictures", prefix: "a/b c" });
  assert.deepEqual(parseS3Location("s3://pictures"), { bucket: "pictures", prefix: "" });
  assert.deepEqual(parseS3Location("s3://pictures/"), { bucket: "pictures", prefix: "" });
  for (const wrong of [
    "s3://",
    "s3:///a",
    "s3://Pictures/a",
    "s3://a/b",
    "s3://pictures/a/../b",
    "s3://pictures/a//b",
    "http://pictures/a",
  ])
    assert.equal(parseS3Location(wrong), undefined, wrong);
});

test("a page of a listing: keys stay texts, whatever stands in them", () => {
  const entry = (key: string): string =>
    `<Contents><Key>${key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&#34;d41d8cd98f00b204e9800998ecf8427e&#34;</ETag><Size>12</Size></Contents>`;
  const xml = `<?xml version="1.0"?><ListBucketResult><Name>b</Name><Prefix></Prefix><NextContinuationToken>a&amp;b</NextContinuationToken><IsTruncated>true</IsTruncated>${[
    "007",
    "two+words/%3Cx%3E%26%2B",
    "%C3%A9",
  ]
    .map(entry)
    .join(
      "",
    )}<CommonPrefixes><Prefix>1/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>a+b/</Prefix></CommonPrefixes></ListBucketResult>`;
  const page = parseListPage(xml);
  assert.deepEqual(
    page?.objects.map(({ key }) => key),
    ["007", "two words/<x>&+", "é"],
  );
  assert.deepEqual(page.objects[0], {
    key: "007",
    bytes: 12,
    etag: "d41d8cd98f00b204e9800998ecf8427e",
    modifiedMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  });
  assert.deepEqual([page.prefixes, page.next], [["1/", "a b/"], "a&b"]);
  assert.equal(parseListPage("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")?.next, undefined);
  assert.equal(parseListPage("<html>proxy</html>"), undefined);
});

test.each([
  ["NoSuchBucket", "STORE_NOT_FOUND"],
  ["AccessDenied", "ACCESS_DENIED"],
  ["RequestTimeTooSkewed", "ACCESS_DENIED"],
  ["XMinioStorageFull", "STORE_FULL"],
  ["SlowDown", "STORE_UNAVAILABLE"],
  ["ECONNRESET", "STORE_UNAVAILABLE"],
  ["SomethingNew", "STORE_UNAVAILABLE"],
])("%s is %s, and the secret is not in it", (s3Code, code) => {
  const context = { endpoint: "http://h:1", bucket: "b", accessKey: "AKIAverysecret", clockAheadMs: 0 };
  const error = s3ErrorFrom(Object.assign(new Error("said the server"), { code: s3Code }), "read object a", context);
  assert.ok(error instanceof CodedError && error.code === code, String(error));
  assert.match(error.message, /^store s3:\/\/b at http:\/\/h:1: cannot read object a: /);
  assert.equal(error.message.includes("verysecret"), false);
});

test("a mistake in the code stays one", () => {
  const bug = new TypeError("x is not a function");
  assert.equal(s3ErrorFrom(bug, "read", { endpoint: "", bucket: "", accessKey: "", clockAheadMs: undefined }), bug);
});
