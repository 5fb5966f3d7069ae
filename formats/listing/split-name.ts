/** The splits of a dataset; a sample table stores their positions here. */
export const splitNames = ["train", "validation", "test"] as const;

export type SplitName = (typeof splitNames)[number];

export function isSplitName(text: string): text is SplitName {
  return (splitNames as readonly string[]).includes(text);
}
