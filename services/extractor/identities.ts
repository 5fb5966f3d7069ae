import type { ImageId } from "../../domain/features/feature-spec.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { IdentityRow, IdentityStore, KnownPictures } from "../../platform/identity-store/identity-store.js";

/** Folders whose identities an extractor holds; a listing goes through them one after another. */
const FOLDERS_IN_MEMORY = 8;

export type Identity = { readonly kind: "image"; readonly imageId: ImageId } | { readonly kind: "rejected"; readonly reason: string };

/** What earlier runs learned about the pictures of one source, so that a second job reads no picture. Saves time only. */
export class RecalledIdentities {
  private readonly store: IdentityStore;
  private readonly location: string;
  private readonly decoderVersion: string;
  /** In the order of their last use. */
  private readonly folders = new Map<string, Promise<KnownPictures>>();

  constructor(store: IdentityStore, location: string, decoderVersion: string) {
    this.store = store;
    this.location = location;
    this.decoderVersion = decoderVersion;
  }

  async recall(picture: ListingRow): Promise<Identity | undefined> {
    const known = (await this.folder(folderOf(picture))).find(picture.uri, picture.state);
    if (known?.kind === "rejected") return { kind: "rejected", reason: known.reason };
    return known;
  }

  /** Keeps what was learned about pictures of one task. */
  async remember(learned: readonly { readonly picture: ListingRow; readonly identity: Identity }[]): Promise<void> {
    const byFolder = new Map<string, IdentityRow[]>();
    for (const { picture, identity } of learned) {
      const row = { path: picture.uri, state: picture.state };
      const rows = byFolder.get(folderOf(picture)) ?? [];
      rows.push(
        identity.kind === "image"
          ? { kind: "image", ...row, imageId: identity.imageId }
          : { kind: "rejected", ...row, decoder: this.decoderVersion, reason: identity.reason },
      );
      byFolder.set(folderOf(picture), rows);
    }
    await Promise.all([...byFolder].map(([folder, rows]) => this.store.append(this.uriOf(folder), rows)));
  }

  private folder(folder: string): Promise<KnownPictures> {
    const known = this.folders.get(folder) ?? this.store.load(this.uriOf(folder), this.decoderVersion);
    this.folders.delete(folder);
    this.folders.set(folder, known);
    const [oldest] = this.folders.keys();
    if (this.folders.size > FOLDERS_IN_MEMORY && oldest !== undefined) this.folders.delete(oldest);
    return known;
  }

  private uriOf(folder: string): string {
    return `${this.location}/${folder}`;
  }
}

function folderOf({ uri }: ListingRow): string {
  return uri.slice(0, Math.max(0, uri.lastIndexOf("/")));
}
