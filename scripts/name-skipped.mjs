/** A reporter for vitest: after the run it names each test that could not run here, and why. A test says why by `context.skip(REASON)` or in its name. */
export default class NameSkipped {
  onTestRunEnd(modules) {
    const skipped = modules.flatMap((module) =>
      [...module.children.allTests("skipped")].map((test) => {
        const { note } = test.result();
        return `  ${module.relativeModuleId}: ${test.fullName}${note ? `: ${note}` : ""}`;
      }),
    );
    if (skipped.length > 0) console.log(`\nCould not run here:\n${skipped.join("\n")}`);
  }
}
