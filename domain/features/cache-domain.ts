/** What the name of a cache domain must be: a DNS label, as that of a namespace of Kubernetes, so that it is a segment of an object's key too. */
export const cacheDomainPattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/**
 * Where in a store lies what jobs of one domain take up of each other: features, with all that is kept beside them, and identities of pictures. Whoever may write there decides what such a job computes with.
 * Jobs without a domain (`""`, and records that were written before there were any) share what lies at the root.
 */
export function domainPrefix(domain: string | undefined): string {
  return domain === undefined || domain === "" ? "" : `domains/${domain}/`;
}
