// `npm run demo`: trains on the sample pictures in one process. Its store is a folder of its own; a second run finds the features there.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { status } = spawnSync(
  process.execPath,
  ["dist/cli/main.js", "train", "samples/flowers", "--store", "out/store", "--out", "out/flowers"],
  {
    stdio: "inherit",
    cwd: root,
  },
);
process.exit(status ?? 1);
