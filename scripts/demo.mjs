// `npm run demo`: trains a classifier on the sample pictures in one process. Everything it writes stays in this folder: the result in out/demo, features and jobs in .cache/demo-store.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join("out", "demo");
const store = join(".cache", "demo-store");

const args = ["train", join("samples", "flowers"), "--store", store, "--out", out];
console.log(`\ngraft ${args.join(" ")}\n`);
const { status, signal } = spawnSync(process.execPath, [join("dist", "cli", "main.js"), ...args], { cwd: root, stdio: "inherit" });
if (status !== 0) {
  console.error(`demo: graft ended with ${status ?? signal}; what it says stands above.`);
  process.exit(status ?? 1);
}
console.log(`
Accuracy stands above. The model is in ${out}, with a report to open in a browser: ${join(root, out, "report.html")}
Features are kept in ${store}: run the demo again and no picture is decoded.`);
