import type { Local } from "../../services/local/local.js";

/** The same adapters, with every decoded picture counted. */
export function countingDecodes(local: Local, onDecode: () => void): Local {
  return {
    ...local,
    decoder: () => {
      const decoder = local.decoder();
      return {
        version: decoder.version,
        decode: (bytes, preprocessing) => {
          onDecode();
          return decoder.decode(bytes, preprocessing);
        },
        decodeViews: (bytes, preprocessing, request) => {
          onDecode();
          return decoder.decodeViews(bytes, preprocessing, request);
        },
        thumbnail: (pixels, size) => decoder.thumbnail(pixels, size),
      };
    },
  };
}

/** The same adapters, with every picture that is read counted by its path. */
export function countingReads(local: Local, onRead: (path: string) => void): Local {
  return {
    ...local,
    openDataset: async (location) => {
      const { source, manifest } = await local.openDataset(location);
      return {
        source: {
          location: source.location,
          list: () => source.list(),
          read: (file) => {
            onRead(file.path);
            return source.read(file);
          },
        },
        manifest,
      };
    },
  };
}
