import type { Access, Caller } from "./access.js";

const anyone: Caller = { user: "anyone", uid: "", groups: [], extra: {}, namespace: undefined, client: true, worker: "anyone" };

/** Whoever reaches the port may do everything. */
export const everyone: Access = {
  advice: "no token is needed",
  authenticate: async () => anyone,
  mayDo: async () => true,
  jobOfPod: async () => undefined,
};
