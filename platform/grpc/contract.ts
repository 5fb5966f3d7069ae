/** Version of proto/graft/v1 that this graft speaks; changes whenever the two sides of a call must change together. */
export const CONTRACT_VERSION = "1";
export const CONTRACT_HEADER = "graft-contract";
