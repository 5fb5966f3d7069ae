import importX from "eslint-plugin-import-x";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: [".cache/", "out/", "dist/", "node_modules/", "proto/gen/", "samples/", "examples/clients/"] },
  {
    files: ["**/*.ts"],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ["vitest.config.ts", "vitest.all.config.ts"] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    plugins: { "import-x": importX },
    rules: {
      "no-new": "error", // an error that is made and dropped is a bug
      "import-x/no-cycle": ["error", { ignoreExternal: true }],
      "no-restricted-syntax": [
        "error",
        { selector: "ImportExpression[source.type!='Literal']", message: "import a literal, so that the architecture test sees it" },
      ],
      "@typescript-eslint/restrict-template-expressions": "off", // numbers and unions of strings read well in messages
      "@typescript-eslint/no-non-null-assertion": "off", // typed arrays under noUncheckedIndexedAccess: `array[i]!` in inner loops
      "@typescript-eslint/no-confusing-void-expression": "off", // `() => list.push(x)` as a callback is plain
      "@typescript-eslint/no-unnecessary-condition": "off", // checks of untrusted bytes look unnecessary to the types that describe trusted ones
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", ignoreRestSiblings: true }],
      "@typescript-eslint/only-throw-error": ["error", { allowThrowingUnknown: true }], // a caught failure is thrown on as it is
      "@typescript-eslint/use-unknown-in-catch-callback-variable": "off", // what Node's file functions reject with is an ErrnoException
      "@typescript-eslint/require-await": "off", // ports are asynchronous, their in-memory adapters need not wait
    },
  },
  {
    files: ["domain/**/*.ts"],
    ignores: ["**/*.test.ts"],
    rules: {
      // Other bits on another Node: use domain/exact-math.ts.
      "no-restricted-properties": [
        "error",
        ...["pow", "exp", "log", "sin", "cos", "tan", "tanh", "cbrt", "random"].map((property) => ({ object: "Math", property })),
      ],
      "no-restricted-syntax": ["error", { selector: "BinaryExpression[operator='**']", message: "other bits on another Node: multiply" }],
    },
  },
  {
    // The client's classes of Kubernetes' objects are names for plain JSON.
    files: [
      "formats/kubernetes/**/*.ts",
      "platform/kubernetes/**/*.ts",
      "platform/**/kubernetes.ts",
      "platform/**/kubernetes.test.ts",
      "services/coordinator/controller/*.test.ts",
      "test/support/kubernetes/**/*.ts",
      "test/support/memory-cluster.ts",
      "cli/kubernetes/**/*.ts",
      "services/bootstrap/**/*.ts",
    ],
    rules: { "@typescript-eslint/no-unsafe-class-instance-assignment": "off", "@typescript-eslint/no-misused-spread": "off" },
  },
);
