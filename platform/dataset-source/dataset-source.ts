/** Where pictures lie: a folder, later a bucket. Listing gives only what a listing gives; pictures are read one by one. */
export interface DatasetSource {
  /** For messages and as the root of identities: an absolute folder or `s3://bucket/prefix`. */
  readonly location: string;
  /** Every file under the source in a fixed order (UTF-8 bytes of the path), never held whole. Paths are `/`-separated and relative to the source. */
  list(): AsyncIterable<ListedFile>;
  /** Whole bytes of one file. @throws CodedError DATASET_UNREADABLE (I/O, permission), DATASET_CHANGED where its state no longer matches. */
  read(file: ListedFile): Promise<Uint8Array>;
}

export interface ListedFile {
  readonly path: string;
  readonly bytes: number;
  /** Changes whenever the content may have changed: for files size, mtime and ctime in ns and inode; for S3 size and ETag. */
  readonly state: string;
}

/** What a spec's `dataset.source` names. */
export interface OpenedDataset {
  readonly source: DatasetSource;
  /** Where the location is a manifest: its name, for messages, and its bytes. Its pictures lie in the folder that it lies in. */
  readonly manifest: { readonly name: string; readonly bytes: Uint8Array } | undefined;
}
