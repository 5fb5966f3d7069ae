import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CodedError } from "../../domain/errors.js";
import { backboneObjects, decodeBackbone, decodeOrigin, type BackboneFiles, type BackboneObject } from "../../formats/backbone/backbone.js";
import type { BackboneStore, StoredBackbone } from "./backbone-store.js";

/** Networks that come with graft, under samples/backbones/, in the form in which a store keeps them. */
const folder = join(packageFolder(), "samples", "backbones");

export interface BundledBackbone {
  readonly name: string;
  readonly origin: string;
  readonly licence: string;
}

export async function listBundledBackbones(): Promise<BundledBackbone[]> {
  const names = existsSync(folder) ? (await readdir(folder)).sort() : [];
  return Promise.all(
    names.map(async (name) => {
      const { origin, licence } = decodeOrigin(await readFile(join(folder, name, "origin.json")));
      return { name, origin, licence };
    }),
  );
}

/** @throws CodedError BACKBONE_UNKNOWN */
export async function readBundledBackbone(name: string): Promise<StoredBackbone> {
  if (!(await listBundledBackbones()).some((bundled) => bundled.name === name)) {
    throw new CodedError("BACKBONE_UNKNOWN", `backbone ${JSON.stringify(name)} does not come with graft`);
  }
  const bodies = await Promise.all(
    backboneObjects.map(async (object): Promise<[BackboneObject, Uint8Array]> => [object, await readFile(join(folder, name, object))]),
  );
  return decodeBackbone(Object.fromEntries(bodies) as BackboneFiles);
}

/**
 * The backbone of that name in the store, else the one that comes with graft. Writes nothing.
 * @throws CodedError BACKBONE_UNKNOWN naming those that there are
 */
export async function findBackbone(store: BackboneStore, name: string, digest: string | undefined): Promise<StoredBackbone> {
  if ((await whereIs(store, name)) === "stored") return store.find(name, digest);
  const bundled = await readBundledBackbone(name);
  if (digest === undefined || digest === bundled.digest) return bundled;
  throw new CodedError(
    "BACKBONE_UNKNOWN",
    `backbone ${JSON.stringify(name)} with digest ${digest} is not known; the one that comes with graft has ${bundled.digest}; leave backbone.digest out, or add the other one with "graft backbone add FILE --name ${name}"`,
    { name, expected: digest, found: bundled.digest },
  );
}

/**
 * The same for a job: one that comes with graft is added to the store first.
 * @throws CodedError BACKBONE_UNKNOWN naming those that there are
 */
export async function findOrAddBackbone(store: BackboneStore, name: string, digest: string | undefined): Promise<StoredBackbone> {
  if ((await whereIs(store, name)) === "stored") return store.find(name, digest);
  const found = await findBackbone(store, name, digest);
  await store.add(found.backbone);
  return found;
}

async function whereIs(store: BackboneStore, name: string): Promise<"stored" | "bundled"> {
  if (await store.has(name)) return "stored";
  const bundled = await listBundledBackbones();
  if (bundled.some((known) => known.name === name)) return "bundled";
  const known = [...new Set([...(await store.list()), ...bundled].map((each) => each.name))].sort();
  throw new CodedError(
    "BACKBONE_UNKNOWN",
    `backbone ${JSON.stringify(name)} is not known; there are ${known.join(", ")}; add another with "graft backbone add FILE --name NAME"`,
    { name, known },
  );
}

/** The folder with graft's package.json, above the sources as well as above dist/. */
function packageFolder(): string {
  let current = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(current, "samples")) && dirname(current) !== current) current = dirname(current);
  return current;
}
