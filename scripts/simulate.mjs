// `npm run simulate [-- --seeds N --from S]` or `[-- --seed X]`: worlds of test/simulation beyond those that the tests run; a seed alone prints what happens in it.
import { runSteps } from "./run.mjs";

runSteps([{ name: "simulation", args: ["dist/test/simulation/main.js", ...process.argv.slice(2)] }]);
