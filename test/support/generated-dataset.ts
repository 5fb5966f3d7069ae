import type { DatasetSource, ListedFile, OpenedDataset } from "../../platform/dataset-source/dataset-source.js";

/** `count` names in ten classes that nobody ever reads. */
export function generatedDataset(count: number): OpenedDataset {
  const source: DatasetSource = {
    location: "/generated",
    async *list(): AsyncGenerator<ListedFile> {
      for (let index = 0; index < count; index++) {
        const label = Math.floor((index * 10) / count);
        yield { path: `class${label}/${String(index).padStart(7, "0")}.jpg`, bytes: 50_000, state: String(index) };
      }
    },
    read: () => Promise.reject(new Error("a plan reads no picture")),
  };
  return { source, manifest: undefined };
}
