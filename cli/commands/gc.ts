import { byteSize, count } from "../../domain/job/figures.js";
import { collectGarbage, type Garbage } from "../../services/local/collect-garbage.js";
import { openLocal } from "../../services/local/local.js";
import { s3Access, storeLocation } from "../config.js";
import { aligned } from "../table.js";

export interface GcFlags {
  readonly store?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `graft gc`: deletes what is older than a day and needed by nothing, and says what and how much. */
export async function gc(flags: GcFlags): Promise<void> {
  const local = await openLocal(storeLocation(flags), { store: s3Access() });
  const sums = new Map<string, { objects: number; bytes: number }>();
  const found = ({ key, bytes, reason }: Garbage): void => {
    const sum = sums.get(reason) ?? { objects: 0, bytes: 0 };
    sums.set(reason, { objects: sum.objects + 1, bytes: sum.bytes + bytes });
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ kind: "garbage", key, bytes, reason })}\n`);
  };
  await collectGarbage(local, flags.dryRun === true, found);
  const objects = [...sums.values()].reduce((sum, each) => sum + each.objects, 0);
  const bytes = [...sums.values()].reduce((sum, each) => sum + each.bytes, 0);
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ kind: "total", objects, bytes, deleted: flags.dryRun !== true })}\n`);
    return;
  }
  if (sums.size > 0)
    process.stdout.write(
      `${aligned([...sums].map(([reason, sum]) => [`  ${reason}`, count(sum.objects, "object"), byteSize(sum.bytes)]))}\n`,
    );
  const what = `${count(objects, "object")}, ${byteSize(bytes)}`;
  process.stdout.write(
    flags.dryRun === true ? `would delete ${what} from ${local.store.location}\n` : `deleted ${what} from ${local.store.location}\n`,
  );
}
